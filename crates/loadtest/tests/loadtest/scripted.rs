//! An upstream that does what a test's script says: answer like Redis, late, swapped, wrongly or not
//! at all. It knows PING, GET, SET and INCR.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use loadtest::{drive::alarm::Alarm, load::Load, target::Target};
use resp::{Decoded, RequestDecoder, RequestLimits, write_bulk, write_error, write_integer, write_simple};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What to do with one request.
#[derive(Clone)]
pub enum Act {
    /// Answer it as Redis would.
    Answer,
    /// The same, after this time.
    Late(Duration),
    /// Nothing on any connection before this time has passed.
    Stall(Duration),
    /// Answer the next request first.
    Swap,
    /// Never answer.
    Drop,
    /// Answer with these bytes.
    Say(&'static [u8]),
    /// Close the connection, and make no new one.
    Die,
}

type Script = dyn Fn(u64, &[Vec<u8>]) -> Act + Send + Sync;

struct State {
    script: Box<Script>,
    seen: AtomicU64,
    store: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    stalled_until: Mutex<Instant>,
    /// How long each request took here, from being read to its answer's being written.
    took: Mutex<Vec<Duration>>,
    dead: tokio::sync::watch::Sender<bool>,
}

/// Listens until it is dropped.
pub struct Scripted {
    pub target: Target,
    state: Arc<State>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// Starts one whose script gets the number of the request, from 0, and its arguments.
    pub async fn start(script: impl Fn(u64, &[Vec<u8>]) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::loopback(listener.local_addr().unwrap().port());
        let state = Arc::new(State {
            script: Box::new(script),
            seen: AtomicU64::new(0),
            store: Mutex::default(),
            stalled_until: Mutex::new(Instant::now()),
            took: Mutex::default(),
            dead: tokio::sync::watch::channel(false).0,
        });
        let (mut tasks, shared) = (JoinSet::new(), Arc::clone(&state));
        tasks.spawn(async move {
            let (mut connections, mut dead) = (JoinSet::new(), state.dead.subscribe());
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        connections.spawn(serve(accepted.unwrap().0, Arc::clone(&state)));
                    }
                    _ = dead.wait_for(|dead| *dead) => return,
                }
            }
        });
        Self { target, state: shared, _tasks: tasks }
    }

    /// The time that this part of all requests took at most.
    pub fn delay_at(&self, quantile: f64) -> Duration {
        let mut took = self.state.took.lock().unwrap().clone();
        took.sort();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the rank of one of them")]
        let rank = (quantile * took.len() as f64).ceil() as usize;
        took[rank.clamp(1, took.len()) - 1]
    }

    /// A short load of it.
    pub fn load(&self) -> Load {
        let mut load = Load::new(self.target.clone());
        load.connections = 4;
        load.keys = 100;
        load.warmup = Duration::ZERO;
        load.until = loadtest::load::Until::Time(Duration::from_secs(1));
        load.reply_timeout = Duration::from_secs(1);
        load
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) {
    stream.set_nodelay(true).unwrap();
    let alarm = Alarm::new().unwrap();
    let (mut decoder, mut input) = (RequestDecoder::new(RequestLimits::default()), Vec::new());
    let mut held = None;
    loop {
        while let Decoded::Request { len } = decoder.decode(&input).unwrap() {
            let request = decoder.request(&input);
            let args: Vec<Vec<u8>> = (0..).map_while(|index| request.arg(index).map(<[u8]>::to_vec)).collect();
            input.drain(..len);
            let (read, mut answer) = (Instant::now(), state.answer(&args));
            match (state.script)(state.seen.fetch_add(1, Ordering::Relaxed), &args) {
                Act::Answer => {}
                Act::Late(delay) => alarm.wait_until(Instant::now() + delay).await.unwrap(),
                Act::Stall(delay) => *state.stalled_until.lock().unwrap() = Instant::now() + delay,
                Act::Swap => {
                    held = Some(answer);
                    continue;
                }
                Act::Drop => continue,
                Act::Say(bytes) => answer = bytes.to_vec(),
                Act::Die => {
                    state.dead.send_replace(true);
                    return;
                }
            }
            answer.extend(held.take().unwrap_or_default());
            let stalled_until = *state.stalled_until.lock().unwrap();
            alarm.wait_until(stalled_until).await.unwrap();
            if stream.write_all(&answer).await.is_err() {
                return;
            }
            state.took.lock().unwrap().push(read.elapsed());
        }
        match stream.read_buf(&mut input).await {
            Ok(1..) => {}
            _ => return,
        }
    }
}

impl State {
    fn answer(&self, args: &[Vec<u8>]) -> Vec<u8> {
        let (mut out, mut store) = (Vec::new(), self.store.lock().unwrap());
        match (args[0].as_slice(), &args[1..]) {
            (b"PING", _) => write_simple(&mut out, "PONG"),
            (b"GET", [key]) => match store.get(key) {
                Some(value) => write_bulk(&mut out, value),
                None => out.extend_from_slice(b"$-1\r\n"),
            },
            (b"SET", [key, value]) => {
                store.insert(key.clone(), value.clone());
                write_simple(&mut out, "OK");
            }
            (b"INCR", [key]) => {
                let value = store.entry(key.clone()).or_insert_with(|| b"0".to_vec());
                let next = String::from_utf8(value.clone()).unwrap().parse::<i64>().unwrap() + 1;
                *value = next.to_string().into_bytes();
                write_integer(&mut out, next);
            }
            _ => write_error(&mut out, "ERR unknown command"),
        }
        out
    }
}
