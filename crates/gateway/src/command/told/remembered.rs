//! What the upstream has said to requests whose words are its own and that change nothing: it is asked once. Bounded, and
//! forgotten when the upstream is another or is set otherwise.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pool::Protocol;

/// Answers that are remembered, and bytes of each with its request.
const ANSWERS_MAX: usize = 64;
const BYTES_MAX: usize = 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<Answers>);

#[derive(Debug, Default)]
struct Answers {
    /// Of the upstream that gave them.
    generation: u64,
    by_request: HashMap<(Protocol, Vec<u8>), Vec<u8>>,
}

impl Remembered {
    fn lock(&self, generation: u64) -> MutexGuard<'_, Answers> {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.generation != generation {
            *answers = Answers { generation, by_request: HashMap::new() };
        }
        answers
    }

    /// What the upstream of this generation has said to `request` in `protocol`.
    pub(crate) fn answer(&self, generation: u64, protocol: Protocol, request: &[u8]) -> Option<Vec<u8>> {
        self.lock(generation).by_request.get(&(protocol, request.to_vec())).cloned()
    }

    /// Remembers an answer, unless it is long, or holds for now alone.
    pub(crate) fn learn(&self, generation: u64, protocol: Protocol, request: Vec<u8>, answer: &[u8]) {
        let is_for_now = answer.starts_with(b"-") && !answer.starts_with(b"-ERR ");
        if is_for_now || request.len() + answer.len() > BYTES_MAX {
            return;
        }
        let by_request = &mut self.lock(generation).by_request;
        if by_request.len() >= ANSWERS_MAX {
            by_request.clear();
        }
        by_request.insert((protocol, request), answer.to_vec());
    }

    /// The upstream may say something else now.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Answers::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_while_the_upstream_is_the_same() {
        let remembered = Remembered::default();
        let answer = |generation| remembered.answer(generation, Protocol::Resp2, b"request");
        remembered.learn(1, Protocol::Resp2, b"request".to_vec(), b"+OK\r\n");
        assert_eq!(answer(1).as_deref(), Some(&b"+OK\r\n"[..]));
        assert_eq!(remembered.answer(1, Protocol::Resp3, b"request"), None);
        assert_eq!(answer(2), None);
        remembered.learn(2, Protocol::Resp2, b"request".to_vec(), b"-BUSY now\r\n");
        remembered.learn(2, Protocol::Resp2, b"request".to_vec(), &[b'x'; BYTES_MAX]);
        assert_eq!(answer(2), None);
        for number in 0..1000 {
            remembered.learn(2, Protocol::Resp2, format!("{number}").into_bytes(), b"+OK\r\n");
        }
        assert!(remembered.lock(2).by_request.len() <= ANSWERS_MAX);
        remembered.forget();
        assert_eq!(remembered.answer(2, Protocol::Resp2, b"999"), None);
    }
}
