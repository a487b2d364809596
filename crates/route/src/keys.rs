//! Where the keys stand among the arguments of a command: key specifications as Redis has them since version 7, and the
//! few commands whose keys no specification finds. The rules are those of Redis's `db.c`.

use resp::Request;

/// From where on keys are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At this argument.
    Index(usize),
    /// Behind a word, which is looked for from this argument on; from the end back where it is negative.
    Keyword(Box<[u8]>, i64),
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find {
    /// Up to `last`, counted from the first, or from the end where it is negative. Of what is left a `limit`-th part
    /// are keys if that is not 0.
    Range { last: i64, step: usize, limit: usize },
    /// As many as the argument `at` says, from `first` on, both counted from the beginning.
    Count { at: usize, first: usize, step: usize },
}

/// A key specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) begin: Begin,
    pub(crate) find: Find,
}

/// How the keys of a command are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keys {
    /// It is one, at this place: so it is with most.
    One(usize),
    /// By these.
    Specs(Box<[Spec]>),
    /// `SORT`: its `STORE` may stand anywhere, and be what other options name.
    Sort,
    /// `MIGRATE`: its keys stand behind `KEYS`, which a password may be as well.
    Migrate,
}

/// The arguments do not fit the command: Redis has the words for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unfit;

/// Arguments from `first` to `last`, each `step`-th.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) step: usize,
}

impl Found {
    fn one(at: usize) -> Self {
        Self { first: at, last: at, step: 1 }
    }

    pub(crate) fn indices(self) -> impl Iterator<Item = usize> {
        (self.first..=self.last).step_by(self.step)
    }
}

impl Spec {
    /// Where it finds keys; `None` if it has nothing to say of this request.
    pub(crate) fn find(&self, request: &Request<'_>) -> Result<Option<Found>, Unfit> {
        let count = request.len();
        let begin = match &self.begin {
            Begin::Index(at) => *at,
            Begin::Keyword(word, from) => match keyword(request, word, *from) {
                Some(at) => at + 1,
                None => return Ok(None),
            },
        };
        let (first, last, step) = match self.find {
            Find::Range { last, step, limit } => {
                let left = count.saturating_sub(begin);
                let end = match (usize::try_from(last), limit) {
                    (Ok(last), _) => Some(begin + last),
                    (Err(_), 0) => count.checked_add_signed(offset(last)),
                    (Err(_), limit) => (begin + left / limit).checked_add_signed(offset(last)),
                };
                (begin, end.ok_or(Unfit)?, step)
            }
            Find::Count { at, first, step } => {
                let number = request.arg(begin + at).map(leading_integer).ok_or(Unfit)?;
                let more = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).ok_or(Unfit)?;
                let last = more.checked_mul(step).and_then(|more| more.checked_add(begin + first)).ok_or(Unfit)?;
                (begin + first, last, step)
            }
        };
        let fits = first <= last && last < count && step > 0;
        if fits { Ok(Some(Found { first, last, step })) } else { Err(Unfit) }
    }
}

/// The number at the beginning of a text, as C's `atoi` has it: 0 if there is none. By that a node finds the keys of a request,
/// and sends it elsewhere, before the command looks whether it is a number at all.
fn leading_integer(text: &[u8]) -> i32 {
    let text = text.trim_ascii_start();
    let (is_negative, digits) = match text.split_first() {
        Some((sign @ (b'-' | b'+'), digits)) => (*sign == b'-', digits),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits.fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add((digit - b'0').into()));
    let number = if is_negative { -number } else { number };
    // What is larger loses its upper half there.
    let [.., a, b, c, d] = number.to_be_bytes();
    i32::from_be_bytes([a, b, c, d])
}

/// As far as a request can have arguments.
fn offset(number: i64) -> isize {
    isize::try_from(number).unwrap_or(isize::MIN)
}

fn keyword(request: &Request<'_>, word: &[u8], from: i64) -> Option<usize> {
    let is = |at: &usize| request.arg(*at).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
    // The last argument has nothing behind it.
    match usize::try_from(from) {
        Ok(from) => (from..request.len() - 1).find(is),
        Err(_) => (1..=request.len().checked_add_signed(offset(from))?).rev().find(is),
    }
}

impl Keys {
    /// Those that these find.
    pub(crate) fn of(specs: Box<[Spec]>) -> Self {
        match &specs[..] {
            [Spec { begin: Begin::Index(at), find: Find::Range { last: 0, step: 1.., .. } }] => Self::One(*at),
            _ => Self::Specs(specs),
        }
    }

    /// Calls `each` with the place of every key in turn, and ends with the first value that it returns.
    pub(crate) fn find<T>(
        &self,
        request: &Request<'_>,
        mut each: impl FnMut(usize) -> Option<T>,
    ) -> Result<Option<T>, Unfit> {
        match self {
            Self::One(at) if *at < request.len() => Ok(each(*at)),
            Self::One(_) => Err(Unfit),
            Self::Specs(specs) => {
                for spec in specs {
                    let Some(found) = spec.find(request)? else { continue };
                    if let Some(value) = found.indices().find_map(&mut each) {
                        return Ok(Some(value));
                    }
                }
                Ok(None)
            }
            Self::Sort => {
                let store = stored_at(request).map(Found::one);
                let found = [Some(Found::one(1)), store];
                Ok(found.into_iter().flatten().flat_map(Found::indices).find_map(each))
            }
            Self::Migrate => Ok(migrated(request).ok_or(Unfit)?.indices().find_map(each)),
        }
    }
}

/// Where the key stands that a `SORT` writes to: the last of several.
fn stored_at(request: &Request<'_>) -> Option<usize> {
    let (mut at, mut store) = (2, None);
    while let Some(arg) = request.arg(at) {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        at += match () {
            () if is("LIMIT") => 3,
            () if is("GET") || is("BY") => 2,
            () if is("STORE") && at + 1 < request.len() => {
                store = Some(at + 1);
                1
            }
            () => 1,
        };
    }
    store
}

fn migrated(request: &Request<'_>) -> Option<Found> {
    let mut at = 6;
    while let Some(arg) = request.arg(at) {
        let is = |word: &str| arg.eq_ignore_ascii_case(word.as_bytes());
        if is("KEYS") {
            let is_sound = request.arg(3).is_some_and(<[u8]>::is_empty) && at + 1 < request.len();
            return is_sound.then(|| Found { first: at + 1, last: request.len() - 1, step: 1 });
        }
        at += match () {
            () if is("AUTH") => 2,
            () if is("AUTH2") => 3,
            () => 1,
        };
    }
    Some(Found::one(3))
}
