//! Where a script without keys, which any node may execute, is likely to find what it uses: where the first key is that stands
//! as a literal in its text. No more than a hint: a script can make up keys as it likes, and whether a node has them shows
//! only when it runs.

use std::{borrow::Cow, collections::HashMap};

use resp::{Decoded, RequestDecoder, RequestLimits, write_request};

use crate::{
    commands::Commands,
    lua::{Word, Words},
    slot::slot,
};

/// Bytes of a text that are read.
pub const HINT_BYTES_MAX: usize = 64 * 1024;

/// Arguments of one call that are looked at.
const ARGS_MAX: usize = 64;

/// Calls within the arguments of another that are looked at.
const CALLS_MAX: usize = 16;

/// In the place of an argument that is no literal: no number, and no option of any command.
const UNKNOWN: &[u8] = b"?";

/// The slot of the first key that stands as a literal in a script: an argument of `redis.call` or `redis.pcall` in the place
/// where, by `commands`, its command has a key. Reads [`HINT_BYTES_MAX`] bytes at most.
///
/// ```
/// # use resp::Value;
/// use route::{Commands, slot, slot_of_script};
///
/// let told = "*1\r\n*6\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n";
/// let commands = Commands::read(&Value::decode(&told.into()).unwrap().0).unwrap();
/// let of = |text: &str| slot_of_script(text.as_bytes(), &commands);
/// assert_eq!(of("local key = KEYS[1] return redis.call('get', key) or redis.call('get', 'user')"), Some(slot(b"user")));
/// assert_eq!(of("return redis.call('get', 'user:' .. ARGV[1])"), None);
/// ```
pub fn slot_of_script(text: &[u8], commands: &Commands) -> Option<u16> {
    let mut reader = Reader::new(text, commands);
    std::iter::from_fn(|| reader.next()).find_map(|found| match found {
        Found::Key(slot) => Some(slot),
        Found::Defined(_) | Found::Registered | Found::Named(_) | Found::Callback(_) => None,
    })
}

/// The functions that a library registers, and of each the slot of its first key that stands as a literal: behind the place
/// where it is registered, or, if it is registered by the name of a Lua function, in that.
pub fn slots_of_library(text: &[u8], commands: &Commands) -> Vec<(Vec<u8>, Option<u16>)> {
    /// From the place where a function is registered or defined up to the next.
    #[derive(Default)]
    struct Part<'t> {
        name: Option<Cow<'t, [u8]>>,
        callback: Option<&'t [u8]>,
        slot: Option<u16>,
    }
    let mut reader = Reader::new(text, commands);
    let (mut parts, mut defined) = (vec![Part::default()], HashMap::new());
    while let Some(found) = reader.next() {
        let last = parts.len() - 1;
        match found {
            Found::Key(slot) => parts[last].slot = parts[last].slot.or(Some(slot)),
            Found::Named(name) => parts[last].name = Some(name),
            Found::Callback(name) => parts[last].callback = Some(name),
            Found::Defined(name) => {
                defined.insert(name, parts.len());
                parts.push(Part::default());
            }
            Found::Registered => parts.push(Part::default()),
        }
    }
    let slot_of = |part: &Part<'_>| match part.callback.and_then(|name| defined.get(name)) {
        Some(at) => parts[*at].slot,
        None => part.slot,
    };
    let named = parts.iter().filter_map(|part| Some((part.name.as_ref()?.to_vec(), slot_of(part))));
    named.collect()
}

/// What is found in a text.
enum Found<'t> {
    /// A call whose key is a literal, with this slot.
    Key(u16),
    /// A Lua function with this name begins.
    Defined(&'t [u8]),
    /// A function of a library is registered; its name follows.
    Registered,
    /// The name under which it is registered.
    Named(Cow<'t, [u8]>),
    /// The name of the Lua function that is registered.
    Callback(&'t [u8]),
}

/// Finds that.
struct Reader<'t> {
    words: Words<'t>,
    commands: &'t Commands,
    /// The words before, the last one first.
    before: [Option<Word<'t>>; 4],
    /// How many brackets are open.
    depth: usize,
    /// The calls that are open, each within the one before.
    calls: Vec<Call<'t>>,
}

/// The arguments of a call, as far as they have been read.
struct Call<'t> {
    /// Brackets that were open before.
    depth: usize,
    args: Vec<Arg<'t>>,
}

/// One argument.
enum Arg<'t> {
    /// Nothing of it has been read.
    None,
    /// A literal.
    Literal(Cow<'t, [u8]>),
    /// Anything else.
    Other,
}

impl<'t> Reader<'t> {
    fn new(text: &'t [u8], commands: &'t Commands) -> Self {
        let words = Words::new(&text[..text.len().min(HINT_BYTES_MAX)]);
        Self { words, commands, before: [const { None }; 4], depth: 0, calls: Vec::new() }
    }

    fn next(&mut self) -> Option<Found<'t>> {
        loop {
            let word = self.words.next()?;
            let found = self.key(&word).or_else(|| self.function(&word));
            self.before.rotate_right(1);
            self.before[0] = Some(word);
            if found.is_some() {
                return found;
            }
        }
    }

    /// Reads the calls at hand on; what a call has for a key, once it is at its end: what stands within it is executed first.
    fn key(&mut self, word: &Word<'t>) -> Option<Found<'t>> {
        match word {
            Word::Sign(b'(' | b'[' | b'{') => {
                let begins = *word == Word::Sign(b'(') && self.is_call() && self.calls.len() < CALLS_MAX;
                self.argue(word);
                if begins {
                    self.calls.push(Call { depth: self.depth, args: vec![Arg::None] });
                }
                self.depth += 1;
            }
            Word::Sign(b')' | b']' | b'}') => {
                self.depth = self.depth.saturating_sub(1);
                let call = self.calls.pop_if(|call| call.depth >= self.depth)?;
                return call.slot(self.commands).map(Found::Key);
            }
            _ => self.argue(word),
        }
        None
    }

    /// Whether the words before name what executes a command.
    fn is_call(&self) -> bool {
        let [Some(Word::Name(verb)), Some(Word::Sign(b'.')), Some(Word::Name(of)), _] = &self.before else {
            return false;
        };
        matches!(*verb, b"call" | b"pcall") && matches!(*of, b"redis" | b"server")
    }

    /// Takes a word into the last argument of the call at hand.
    fn argue(&mut self, word: &Word<'t>) {
        let Some(Call { depth, args }) = self.calls.last_mut() else { return };
        let Some(last) = args.last_mut() else { return };
        if *word == Word::Sign(b',') && self.depth == *depth + 1 {
            if args.len() < ARGS_MAX {
                args.push(Arg::None);
            }
            return;
        }
        *last = match (&last, word) {
            (Arg::None, Word::Text(text)) => Arg::Literal(text.clone()),
            (Arg::None, Word::Number(number)) if is_integer(number) => Arg::Literal(Cow::Borrowed(number)),
            _ => Arg::Other,
        };
    }

    /// What a word means for the functions of a library.
    fn function(&self, word: &Word<'t>) -> Option<Found<'t>> {
        let is = |at: usize, name: &[u8]| matches!(&self.before[at], Some(Word::Name(before)) if *before == name);
        let sign = |at: usize, sign: u8| self.before[at] == Some(Word::Sign(sign));
        match word {
            Word::Name(b"register_function") => Some(Found::Registered),
            Word::Name(b"function") => match self.before[1] {
                Some(Word::Name(name)) if sign(0, b'=') && name != b"callback" => Some(Found::Defined(name)),
                _ => None,
            },
            Word::Name(name) if is(0, b"function") => Some(Found::Defined(name)),
            Word::Name(name) => {
                let is_second = sign(0, b',') && sign(2, b'(') && is(3, b"register_function");
                (is_second || (sign(0, b'=') && is(1, b"callback"))).then_some(Found::Callback(name))
            }
            Word::Text(name) => {
                let is_first = sign(0, b'(') && is(1, b"register_function");
                (is_first || (sign(0, b'=') && is(1, b"function_name"))).then(|| Found::Named(name.clone()))
            }
            Word::Number(_) | Word::Sign(_) => None,
        }
    }
}

impl Call<'_> {
    /// The slot of its first key that is a literal.
    fn slot(&self, commands: &Commands) -> Option<u16> {
        let word = |arg: &Arg<'_>| match arg {
            Arg::Literal(literal) => literal.to_vec(),
            Arg::None | Arg::Other => UNKNOWN.to_vec(),
        };
        let (mut bytes, words) = (Vec::new(), self.args.iter().map(word).collect::<Vec<_>>());
        write_request(&mut bytes, &words);
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(&bytes) else { return None };
        let request = decoder.request(&bytes);
        let command = commands.find(&request).filter(|command| command.takes(request.len()))?;
        let slot_at = |at: usize| match self.args.get(at)? {
            Arg::Literal(key) => Some(slot(key)),
            Arg::None | Arg::Other => None,
        };
        command.keys.find(&request, slot_at).ok().flatten()
    }
}

/// Whether a number is what Lua makes of it as a string.
fn is_integer(number: &[u8]) -> bool {
    number.iter().all(u8::is_ascii_digit) && number.len() <= 15 && (number.len() == 1 || number[0] != b'0')
}
