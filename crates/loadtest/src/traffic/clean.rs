//! Removes the keys that a load has written, by their names, so that no other key is touched.

use std::time::Duration;

use resp::Value;
use tokio::time::timeout;

use crate::{
    load::{Load, LoadError, key_kind::KeyKind},
    measure::written_keys::WrittenKeys,
    target::TargetError,
};

/// Keys that are removed by one request.
const KEYS_STEP: u64 = 500;

/// Removes the keys of a load that wants it, and notes in `keys` what came of that.
pub async fn clean(load: &Load, keys: &mut WrittenKeys) {
    if load.clean {
        match remove(load).await {
            Ok(removed) => keys.removed = Some(removed),
            Err(error) => keys.not_removed = Some(error.to_string()),
        }
    }
}

/// Removes every key that `load` may have written, and tells how many there were.
///
/// # Errors
/// The target cannot be reached, or refuses a `DEL`.
async fn remove(load: &Load) -> Result<u64, LoadError> {
    let mut stream = load.target.connect(load.protocol, load.connect_timeout).await?;
    let mut removed = 0;
    for kind in KeyKind::ALL {
        let count = kind.written_by(load);
        let mut first = 0;
        while first < count {
            let end = (first + KEYS_STEP).min(count);
            let mut args = vec!["DEL".to_owned()];
            args.extend((first..end).map(|key| name(load, kind, key)));
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let limit: Duration = load.reply_timeout;
            let answer = timeout(limit, load.target.exchange(&mut stream, &args)).await;
            match answer.map_err(|_| TargetError::Timeout(load.target.to_string(), limit))?? {
                Value::Integer(count) => removed += u64::try_from(count).unwrap_or(0),
                Value::Error(text) => {
                    return Err(TargetError::Refused(load.target.to_string(), "DEL".to_owned(), text).into());
                }
                other => {
                    let text = format!("DEL was answered with {other:?}");
                    return Err(TargetError::NotResp(load.target.to_string(), text).into());
                }
            }
            first = end;
        }
    }
    Ok(removed)
}

fn name(load: &Load, kind: KeyKind, key: u64) -> String {
    let mut name = Vec::new();
    kind.write_name(&mut name, load.key_prefix.as_bytes(), key);
    String::from_utf8_lossy(&name).into_owned()
}
