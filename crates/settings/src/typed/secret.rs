//! Text that is a secret as it stands: nothing shows more of it than that it is there.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::typed::kind::{Kind, Typed};

/// A password, wiped when it is dropped.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub Zeroizing<String>);

/// Logs and panics have no business with it.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "(set)" })
    }
}

impl Typed for Secret {
    const KIND: Kind = Kind::Text;

    /// Whether there is one.
    fn shown(&self) -> Self {
        Self(Zeroizing::new(if self.0.is_empty() { String::new() } else { "(set)".to_owned() }))
    }
}
