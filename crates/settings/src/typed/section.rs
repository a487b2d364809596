//! How a section of the configuration file is written down: the fields of a struct with their documentation and
//! defaults, each with `=> AtStart` behind the default if a change of it needs a restart.

macro_rules! section {
    ($(#[doc = $doc:literal])* $name:ident {
        $($(#[doc = $line:literal])* $field:ident: $type:ty = $default:expr $(=> $when:ident)?,)*
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $($(#[doc = $line])* pub $field: $type,)*
        }

        impl $name {
            /// The keys of this section, in the order of the file.
            pub(crate) const KEYS: &'static [$crate::typed::key::Key] = &[$($crate::typed::key::Key {
                name: stringify!($field),
                kind: <$type as $crate::typed::kind::Typed>::KIND,
                docs: &[$($line,)*],
                at_start: matches!(
                    [$crate::typed::key::When::AtOnce, $($crate::typed::key::When::$when)?],
                    [.., $crate::typed::key::When::AtStart]
                ),
            },)*];
        }

        impl $crate::typed::kind::Typed for $name {
            const KIND: $crate::typed::kind::Kind = $crate::typed::kind::Kind::Section(Self::KEYS);

            fn shown(&self) -> Self {
                Self { $($field: $crate::typed::kind::Typed::shown(&self.$field),)* }
            }
        }

        /// Logs and panics have no business with credentials.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), &$crate::typed::kind::Typed::shown(&self.$field)))*
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
