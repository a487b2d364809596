//! What a gateway shows over HTTP, asked for by hand so that nothing stands between the test and the
//! bytes; and a page of metrics, read into series.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::DEADLINE;

/// Status and body of one answer.
#[track_caller]
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE).expect("connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a whole answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body.to_owned())
}

/// A page of metrics: the value of each series by its name and labels, as they are written.
#[derive(Debug)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    #[track_caller]
    pub fn read(address: SocketAddr) -> Self {
        let (status, page) = get(address, "/metrics");
        assert_eq!(status, 200, "{page}");
        let series = page.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        let mut all = BTreeMap::new();
        for (series, value) in series {
            assert!(all.insert(series, value).is_none(), "a series stands there twice:\n{page}");
        }
        Self(all)
    }

    /// The value of a series without labels, or with exactly those given as `name{label="value"}`.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0))
    }

    /// Values by the value of the one label of a metric.
    #[track_caller]
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let start = format!("{name}{{{label}=\"");
        let values = self
            .0
            .iter()
            .filter_map(|(series, value)| Some((series.strip_prefix(&start)?.strip_suffix("\"}")?, *value)));
        let values: BTreeMap<_, _> = values.collect();
        assert!(!values.is_empty(), "no {name} by {label} in {:#?}", self.0);
        values
    }

    /// All series, as they are written.
    pub fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
