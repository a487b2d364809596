//! How a section of the configuration file is written down: the fields of a struct with their documentation and
//! defaults. Used by `config` and `sections`.

/// What `Debug` shows of a field: logs and panics have no business with credentials.
pub(crate) fn unless_secret<'v>(field: &str, value: &'v dyn std::fmt::Debug) -> &'v dyn std::fmt::Debug {
    if matches!(field, "url" | "users") { &"(not shown)" } else { value }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), $crate::section::unless_secret(stringify!($field), &self.$field)))*
                    .finish()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

pub(crate) use section;
