//! Where scripts and functions without keys are likely to find what they use.

use proptest::prelude::*;
use route::{HINT_BYTES_MAX, slot, slot_of_script, slots_of_library};

use crate::told::commands;

/// The key whose slot is taken for that of a script.
#[track_caller]
fn assert_key(text: &str, key: Option<&str>) {
    let expected = key.map(|key| slot(key.as_bytes()));
    assert_eq!(slot_of_script(text.as_bytes(), commands()), expected, "{text}");
}

#[test]
fn the_first_key_that_is_a_literal_decides() {
    for (text, key) in [
        ("return redis.call('get', 'x')", Some("x")),
        ("return redis . pcall (\n\"SET\" , \"x\",1 )", Some("x")),
        ("return server.call('GET', [[x]])", Some("x")),
        (r#"redis.call("get", "a\"\98")"#, Some("a\"b")),
        ("#!lua flags=no-writes\nredis.call('get','x') return 1", Some("x")),
        // What others were given, or make up, is none.
        ("redis.call('get', KEYS[1]) redis.call('get', 'a'..'b') redis.call('get', 'y')", Some("y")),
        ("return redis.call('get', ('x'))", None),
        ("return redis.call('set', tostring('x'), 'y')", None),
        ("return redis.call(ARGV[1], 'x')", None),
        ("return call('get', 'x')", None),
        // Two slots: the script fails, as it does anywhere.
        ("redis.call('get', 'x') redis.call('get', 'y')", Some("x")),
        // Commands without keys, that nobody knows, or that are none with these arguments.
        ("redis.call('randomkey') redis.call('time') return redis.pcall('set', 'x', 'y')", Some("x")),
        ("redis.call('publish', 'c', 'm') redis.call('nonsense', 'a') redis.call('get', 'a', 'b')", None),
        ("redis.call() redis.call('get') redis.call('', '') redis.call({}, 'x')", None),
        // Comments and strings.
        ("-- redis.call('get', 'a')\nredis.call('get', 'x')", Some("x")),
        ("--[[ redis.call('get', 'a')\n]] redis.call('get', --[==[ ]] ]==] 'x')", Some("x")),
        ("local s = \"redis.call('get', 'a')\" local t = [[redis.call('get', 'a')]]", None),
        // Where keys stand is what the commands say.
        ("redis.call('object', 'encoding', 'x')", Some("x")),
        ("redis.call('zunionstore', 'x', #KEYS, unpack(KEYS))", Some("x")),
        ("redis.call('zunion', 2, KEYS[1], 'x')", Some("x")),
        ("redis.call('zunion', n, 'x', 'y')", None),
        ("redis.call('xread', 'COUNT', 1, 'STREAMS', 'x', '0')", Some("x")),
        ("redis.call('set', 12, 'y')", Some("12")),
        ("redis.call('set', 012, 'y') redis.call('set', 1.5, 'y')", None),
        ("redis.call('lpush', 'x', unpack(a))", Some("x")),
        ("redis.call('rename', KEYS[1], 'x')", Some("x")),
        // What stands within a call is executed before that.
        ("redis.call('set', 'y', redis.call('get', 'x'))", Some("x")),
        ("redis.call('set', f(redis.call('get', KEYS[1])), redis.call('time')[1]) redis.call('get', 'x')", Some("x")),
        ("redis.call('get', 'x'", None),
        ("redis.call('get', 'x]]", None),
    ] {
        assert_key(text, key);
    }
}

#[test]
fn only_the_beginning_of_a_text_is_read() {
    for (blanks, key) in [(HINT_BYTES_MAX - 40, Some("x")), (HINT_BYTES_MAX, None)] {
        assert_key(&format!("{}redis.call('get', 'x')", " ".repeat(blanks)), key);
    }
}

#[test]
fn each_function_of_a_library_has_its_own() {
    let text = "#!lua name=lib
        local function helper(keys) return redis.call('get', 'h') end
        local later = function(keys) return redis.call('get', 'l') end
        redis.register_function('a', function(keys, args) return redis.call('get', 'x') end)
        redis.register_function{function_name='b', callback=function(keys) return redis.call('get', 'y') end, flags={'no-writes'}}
        redis.register_function('none', function(keys) return redis.call('get', keys[1]) end)
        redis.register_function('h', helper)
        redis.register_function({callback = later, function_name = \"l\"})
        redis.register_function('elsewhere', unknown)
        redis.register_function";
    let found = slots_of_library(text.as_bytes(), commands());
    let shown = found.iter().map(|(name, slot)| (std::str::from_utf8(name).expect("text"), *slot)).collect::<Vec<_>>();
    let of = |key: &str| Some(slot(key.as_bytes()));
    let expected =
        [("a", of("x")), ("b", of("y")), ("none", None), ("h", of("h")), ("l", of("l")), ("elsewhere", None)];
    assert_eq!(shown, expected);
}

/// Parts of which texts are made that mean something, and some that do not.
const PARTS: [&str; 30] = [
    "redis",
    ".",
    "call",
    "pcall",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "]]",
    "[=[",
    "]=]",
    "'",
    "\"",
    "\\",
    "--",
    "\n",
    ",",
    "=",
    "function",
    "register_function",
    "callback",
    "'get'",
    "'zunion'",
    "2",
    "redis.call('get','x')",
    "\0",
    " ",
];

proptest! {
    #[test]
    fn rubbish_is_read_as_well(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        slot_of_script(&bytes, commands());
        slots_of_library(&bytes, commands());
    }

    #[test]
    fn what_is_like_a_script_is_read_as_well(parts in proptest::collection::vec(0..PARTS.len(), 0..200)) {
        let text: String = parts.into_iter().map(|part| PARTS[part]).collect();
        let of_script = slot_of_script(text.as_bytes(), commands());
        slots_of_library(text.as_bytes(), commands());
        // A text that says the same behind it has what it has.
        if of_script.is_some() {
            prop_assert_eq!(slot_of_script(format!("{text} {text}").as_bytes(), commands()), of_script);
        }
    }
}

#[test]
fn calls_within_calls_are_read_up_to_a_bound() {
    let nested = |depth: usize| format!("{}redis.call('get', 'x')", "redis.call('get', ".repeat(depth));
    assert_key(&nested(15), Some("x"));
    for part in ["redis.call('get', ", "redis.call({", "("] {
        let open = part.repeat((HINT_BYTES_MAX - 100) / part.len());
        assert_key(&format!("{open}redis.call('get', 'x')"), (part == "(").then_some("x"));
    }
}
