//! The kinds of wrong replies, by which they are counted.

use std::fmt;

use serde::Serialize;

/// What can be wrong with a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wrong {
    /// It holds what belongs to another key: two replies have changed places.
    Crossed,
    /// It holds an older version than what had been acknowledged before it was asked for.
    Stale,
    /// Nothing is there, although a write had been acknowledged.
    Lost,
    /// It holds a value that nobody has written, or a counter that was not one more.
    Invented,
    /// It is of a type that does not answer the request.
    Shape,
    /// It answers no request.
    Surplus,
    /// It never came.
    Missing,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crossed => "crossed",
            Self::Stale => "stale",
            Self::Lost => "lost",
            Self::Invented => "invented",
            Self::Shape => "of another shape",
            Self::Surplus => "surplus",
            Self::Missing => "missing",
        })
    }
}
