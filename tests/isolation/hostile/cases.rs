//! What no client should send, as data: a name and the bytes. Each ends where its sender stops sending. What
//! Redis answers to it, and whether it then closes, is asked of a real one beside the gateway.

/// What comes over the wire: pieces, each with how often it is repeated.
pub type Case = (&'static str, &'static [(usize, &'static [u8])]);

/// Bytes of a case.
pub fn bytes(case: &Case) -> Vec<u8> {
    case.1.iter().flat_map(|(times, piece)| piece.repeat(*times)).collect()
}

macro_rules! cases {
    ($($name:literal: $first:tt $(+ $more:tt)*;)*) => {
        &[$(($name, &[piece!($first) $(, piece!($more))*])),*]
    };
}

macro_rules! piece {
    (($times:literal x $bytes:literal)) => {
        ($times, $bytes)
    };
    ($bytes:literal) => {
        (1, $bytes)
    };
}

/// A case that may be answered otherwise than by the Redis beside it, on purpose.
pub struct Difference {
    pub case: &'static str,
    /// What the answers end with.
    pub redis: &'static [u8],
    pub respool: &'static [u8],
}

/// `args_max` and `request_bytes_max` are bounds of the gateway's own, and it says so at once.
const ARGS_MAX: &[u8] = b"-ERR Protocol error: invalid multibulk length\r\n";
const REQUEST_BYTES_MAX: &[u8] = b"-ERR respool: request larger than request_bytes_max (536870912 bytes)\r\n";

/// Where Redis closes on the spot, replies that it had not written are lost; the gateway writes them first.
const NOTHING: &[u8] = b"";

const NO_LOGIN: &[u8] = b"-NOAUTH Authentication required.\r\n";

/// All of them.
pub const DIFFERENCES: &[Difference] = &[
    Difference { case: "a count of 2^31 - 1", redis: NOTHING, respool: ARGS_MAX },
    Difference { case: "a count beyond what is allowed", redis: NOTHING, respool: ARGS_MAX },
    Difference { case: "a length of 512 MB, and nothing", redis: NOTHING, respool: REQUEST_BYTES_MAX },
    Difference {
        case: "a request of HTTP",
        redis: NOTHING,
        respool: b"-ERR wrong number of arguments for 'get' command\r\n",
    },
    Difference { case: "a request of HTTP with a body", redis: NOTHING, respool: NOTHING },
    Difference { case: "a header of HTTP alone", redis: NOTHING, respool: NOTHING },
    // The client behind that load balancer would take each reply for that of the request before.
    Difference {
        case: "a header of the PROXY protocol",
        redis: b"-ERR unknown command 'PROXY', with args beginning with: 'TCP4' '10.0.0.1' '10.0.0.2' '1' '2' \r\n\
            +PONG\r\n",
        respool: NOTHING,
    },
    // Whoever stops sending while a request waits in the upstream is taken to be gone: nothing is taken off a list
    // for one who may not be there. Redis answers first what it can answer at once.
    Difference {
        case: "a wait that is no number",
        redis: b"-ERR timeout is not a float or out of range\r\n-ERR timeout is negative\r\n+PONG\r\n",
        respool: NOTHING,
    },
    Difference {
        case: "a stream's wait that is no number",
        redis: b"-ERR wrong number of arguments for 'xread' command\r\n",
        respool: NOTHING,
    },
    Difference {
        case: "a wait for replicas of no number",
        redis: b"-ERR wrong number of arguments for 'wait' command\r\n+PONG\r\n",
        respool: NOTHING,
    },
    // HELLO counts as a whole or not at all; in Redis 7.0 what stands in front of the fault does.
    Difference {
        case: "a HELLO with a name and nonsense",
        redis: b"-ERR Syntax error in HELLO option 'NONSENSE'\r\n$1\r\nx\r\n",
        respool: b"-ERR Syntax error in HELLO option 'NONSENSE'\r\n$-1\r\n",
    },
    // Which commands there are is known to the upstream alone, and it is not asked before a login.
    Difference {
        case: "an unknown command",
        redis: b"-ERR unknown command 'NOSUCH', with args beginning with: \r\n",
        respool: NO_LOGIN,
    },
    Difference {
        case: "the console",
        redis: b"-ERR unknown command 'RESPOOL', with args beginning with: 'POOLS' \r\n",
        respool: NO_LOGIN,
    },
];

/// Framing that is wrong, or looks it.
pub const FRAMING: &[Case] = cases! {
    "a count in letters": b"*abc\r\n";
    "no count": b"*\r\n";
    "a count with a leading zero": b"*02\r\n$4\r\nPING\r\n";
    "a count with a plus": b"*+1\r\n$4\r\nPING\r\n";
    "a count with a space before": b"* 1\r\n$4\r\nPING\r\n";
    "a count with a space behind": b"*1 \r\n$4\r\nPING\r\n";
    "a hexadecimal count": b"*0x1\r\n$4\r\nPING\r\n";
    "a count with a fraction": b"*1.0\r\n$4\r\nPING\r\n";
    "a count with an exponent": b"*1e0\r\n$4\r\nPING\r\n";
    "a count of minus zero": b"*-0\r\n$4\r\nPING\r\n";
    "a count with a NUL": b"*1\0\r\n$4\r\nPING\r\n";
    "a count in other digits": b"*\xef\xbc\x91\r\n$4\r\nPING\r\n";
    "a count that ends with LF alone": b"*1\n$4\nPING\n";
    "a count of 99999999999": b"*99999999999\r\n";
    "a count of 2^31": b"*2147483648\r\n";
    "a count of 2^31 - 1": b"*2147483647\r\n";
    "a count of 2^63 - 1": b"*9223372036854775807\r\n";
    "a count of 2^64 + 1": b"*18446744073709551617\r\n$4\r\nPING\r\n";
    "a count of -2^63 - 1": b"*-9223372036854775809\r\n";
    "a count beyond what is allowed": b"*1048577\r\n";
    "the largest count that is allowed, and no more": b"*1048576\r\n$4\r\nPING\r\n";
    "a negative count": b"*-5\r\n*1\r\n$4\r\nPING\r\n";
    "nothing asked for, and then something": b"*0\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n";
    "an integer for an argument": b"*1\r\n:1\r\n";
    "an array for an argument": b"*1\r\n*1\r\n$4\r\nPING\r\n";
    "a simple string for an argument": b"*1\r\n+PING\r\n";
    "an error for an argument": b"*1\r\n-ERR\r\n";
    "a null of RESP3 for an argument": b"*1\r\n_\r\n";
    "a boolean for an argument": b"*1\r\n#t\r\n";
    "a double for an argument": b"*1\r\n,1\r\n";
    "a big number for an argument": b"*1\r\n(1\r\n";
    "a bulk error for an argument": b"*1\r\n!3\r\nERR\r\n";
    "a verbatim string for an argument": b"*1\r\n=8\r\ntxt:PING\r\n";
    "a map for an argument": b"*1\r\n%0\r\n";
    "a set for an argument": b"*1\r\n~0\r\n";
    "a push for an argument": b"*1\r\n>0\r\n";
    "an attribute for an argument": b"*1\r\n|0\r\n";
    "nothing for an argument": b"*1\r\n\r\n";
    "a NUL for an argument": b"*1\r\n\0\r\n";
    "a byte that is no text for an argument": b"*1\r\n\xff\r\n";
    "no length": b"*1\r\n$\r\n";
    "a null for an argument": b"*1\r\n$-1\r\n";
    "a null for the last argument": b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$-1\r\n";
    "a length with a leading zero": b"*1\r\n$04\r\nPING\r\n";
    "a length with a letter": b"*1\r\n$4a\r\nPING\r\n";
    "a length with a plus": b"*1\r\n$+4\r\nPING\r\n";
    "a length with a space": b"*1\r\n$ 4\r\nPING\r\n";
    "a length of minus zero": b"*1\r\n$-0\r\n\r\n";
    "a length beyond 512 MB": b"*1\r\n$536870913\r\n";
    "a length of 512 MB, and nothing": b"*1\r\n$536870912\r\n";
    "a length beyond 2^64": b"*1\r\n$99999999999999999999\r\n";
    "a length of 2^63": b"*1\r\n$9223372036854775808\r\n";
    "a negative length": b"*2\r\n$4\r\nPING\r\n$-5\r\n";
    "a length that is too short": b"*1\r\n$3\r\nPING\r\n*1\r\n$4\r\nPING\r\n";
    "a length that is too long": b"*1\r\n$6\r\nPING\r\n*1\r\n$4\r\nPING\r\n";
    "other bytes where a line ends": b"*1\rX$4\rXPINGXX*1\r\n$4\r\nPING\r\n";
    "a request that ends in its count": b"*1";
    "a request that ends in its length": b"*1\r\n$4";
    "a request that ends in its argument": b"*1\r\n$4\r\nPI";
    "a request that ends before its line end": b"*1\r\n$4\r\nPING";
    "an array in an array, 5,000 deep": (5000 x b"*1\r\n");
    "a count of 70,000 digits": b"*" + (70000 x b"1");
    "a length of 70,000 digits": b"*1\r\n$" + (70000 x b"1");
    "1,000 empty requests": (1000 x b"*0\r\n") + b"PING\r\n";
    "1,000 arguments too many": b"*1001\r\n$3\r\nGET\r\n" + (1000 x b"$0\r\n\r\n");
};

/// One line a request, with quotes; and what is no request at all.
pub const INLINE: &[Case] = cases! {
    "quotes that do not end": b"get \"unbalanced\r\n";
    "single quotes that do not end": b"get 'unbalanced\r\n";
    "quotes that end in a word": b"get 'a'b\r\n";
    "double quotes that end in a word": b"get \"a\"b\r\n";
    "an escaped quote at the end": b"get \"a\\\"\r\n";
    "an escape of half a byte": b"echo \"\\x4\"\r\n";
    "an escape of no digits": b"echo \"\\xzz\\q\\\"\"\r\n";
    "an escaped line end": b"echo \"a\\r\\nb\"\r\n";
    "quotes within a word": b"ec\"ho\" x'y z'\r\n";
    "an empty name": b"\"\"\r\n";
    "an empty name in single quotes": b"'' x\r\n";
    "spaces of every kind": b" \t\x0b\x0cecho\t \x0b\x0cx\r\n";
    "a vertical tab in a word": b"echo a\x0bb\r\n";
    "a line without its end": b"PING";
    "a line that ends with LF alone": b"PING\nPING\n";
    "a line that ends with CR alone": b"PING\rPING\r\n";
    "a line with two CR": b"PING\r\r\n";
    "empty lines": b"\r\n\n\r\n   \r\nPING\r\n";
    "a NUL in a line": b"DEL k\0\r\nPING\r\n";
    "a NUL at the beginning of a line": b"\0PING\r\nPING\r\n";
    "a thousand NULs": (1000 x b"\0");
    "a line without end": (200000 x b"a");
    "a line of spaces without end": (200000 x b" ");
    "a line of quotes without end": b"\"" + (200000 x b"a");
    "bytes that are no text": (100 x b"\xff") + b"\r\n";
    "control bytes": b"\x01\x02\x03\r\n";
    "a simple string": b"+OK\r\n";
    "an error": b"-ERR x\r\n";
    "an integer": b":1\r\n";
    "a bulk string": b"$4\r\nPING\r\n";
    "a null of RESP3": b"_\r\n";
    "a boolean": b"#t\r\n";
    "a map": b"%1\r\n+a\r\n+b\r\n";
    "a set": b"~1\r\n:1\r\n";
    "a push": b">1\r\n+a\r\n";
    "an attribute": b"|1\r\n+a\r\n+b\r\nPING\r\n";
    "a greeting of SSH": b"SSH-2.0-OpenSSH_9.0\r\n";
    "a greeting of SMTP": b"EHLO example.org\r\n";
    "a greeting of FTP": b"USER anonymous\r\nPASS x\r\n";
    "a greeting of XMPP": b"<stream:stream to='x'>\r\n";
    "a request of memcached": b"stats items\r\nget k\r\n";
    "a header of the PROXY protocol": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nPING\r\n";
    "a request of HTTP": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\nPING\r\n";
    "a request of HTTP with a body": b"POST / HTTP/1.1\r\n\r\nPING\r\n";
    "a header of HTTP alone": b"hOsT: x\r\nPING\r\n";
    "another method of HTTP": b"OPTIONS * HTTP/1.0\r\n\r\n";
};

/// Framed as it should be, and wrong all the same.
pub const COMMANDS: &[Case] = cases! {
    "a command of no name": b"*1\r\n$0\r\n\r\n";
    "a command with a line end in its name": b"*1\r\n$6\r\nx\r\n+OK\r\n";
    "a command with a NUL in its name": b"*1\r\n$5\r\nPI\0NG\r\n";
    "a command of 64 KiB": b"*1\r\n$65536\r\n" + (65536 x b"x") + b"\r\n";
    "a command that is a format": b"%s%n%d%p '%s' '\r\n'\r\n";
    "an argument with a line end": b"*2\r\n$3\r\nNO\n\r\n$4\r\na\r\nb\r\n";
    "a database below zero": b"SELECT -1\r\n";
    "a database that is not there": b"SELECT 99999\r\nGET nothing\r\n";
    "a database beyond 2^64": b"SELECT 99999999999999999999\r\n";
    "a database that is no number": b"SELECT 1a\r\n";
    "no database": b"SELECT\r\n";
    "a protocol that is not there": b"HELLO 4\r\n";
    "a protocol that is no number": b"HELLO x\r\n";
    "a HELLO with half a login": b"HELLO 3 AUTH default\r\n";
    "a HELLO with a wrong login": b"HELLO 3 AUTH nobody x\r\nPING\r\n";
    "a HELLO without a name": b"HELLO 3 SETNAME\r\n";
    "a HELLO with a bad name": b"HELLO 3 SETNAME \"a b\"\r\nCLIENT GETNAME\r\n";
    "a HELLO with nonsense": b"HELLO 3 NONSENSE\r\nPING\r\n";
    "a HELLO with a name and nonsense": b"HELLO 3 SETNAME x NONSENSE\r\nCLIENT GETNAME\r\n";
    "a login where there is none": b"AUTH x\r\n";
    "a login with too much": b"AUTH a b c\r\n";
    "a name with a space": b"CLIENT SETNAME \"a b\"\r\n";
    "a name with a line end": b"CLIENT SETNAME \"a\\r\\nb\"\r\nCLIENT GETNAME\r\n";
    "a client that is not there": b"CLIENT KILL 1.2.3.4:5\r\n";
    "a client of no number": b"CLIENT KILL ID x\r\n";
    "replies that are neither": b"CLIENT REPLY MAYBE\r\nPING\r\n";
    "replies that are off, and malformed input": b"CLIENT REPLY OFF\r\nPING\r\n*1\r\n:1\r\n";
    "clients of no type": b"CLIENT LIST TYPE x\r\n";
    "no subcommand": b"CLIENT\r\n";
    "a subcommand that is not there": b"CLIENT NOSUCH\r\n";
    "a RESET with more": b"RESET x\r\n";
    "a QUIT, and more": b"QUIT\r\nSET owned 1\r\n";
    "a transaction in a transaction": b"MULTI\r\nMULTI\r\nPING\r\nEXEC\r\n";
    "a transaction with an unknown command": b"MULTI\r\nNOSUCH\r\nSET owned 1\r\nEXEC\r\nGET owned\r\n";
    "a transaction with a WATCH": b"MULTI\r\nWATCH k\r\nPING\r\nEXEC\r\n";
    "a transaction with malformed input": b"MULTI\r\nSET owned 1\r\n*1\r\n:1\r\nEXEC\r\n";
    "a transaction that never ends": b"MULTI\r\nSET owned 1\r\n";
    "an EXEC, again and again": b"EXEC\r\nEXEC\r\nDISCARD\r\nEXEC x\r\n";
    "a MULTI with more": b"MULTI x\r\nEXEC\r\n";
    "a WATCH of nothing": b"WATCH\r\nUNWATCH x\r\n";
    "a subscription to nothing": b"SUBSCRIBE\r\nPSUBSCRIBE\r\nUNSUBSCRIBE\r\nPING\r\n";
    "a subscriber with other wishes": b"SUBSCRIBE c\r\nGET k\r\nSET owned 1\r\nPING\r\n";
    "a subscriber with malformed input": b"SUBSCRIBE c\r\n*1\r\n:1\r\n";
    "a wait that is no number": b"BLPOP k x\r\nBLPOP k -1\r\nPING\r\n";
    "a stream's wait that is no number": b"XREAD BLOCK x STREAMS s 0\r\nXREAD BLOCK 1\r\n";
    "a script of no keys": b"EVAL \"return 1\" -1\r\nEVAL \"return 1\" 9\r\nEVAL\r\n";
    "a script that is none": b"EVAL \"return (\" 0\r\n";
    "a script that forges a reply": b"EVAL \"return {err='x\\r\\n+OK'}\" 0\r\nPING\r\n";
    "a wait for replicas of no number": b"WAIT x 1\r\nWAIT 0\r\nPING\r\n";
};

/// Before a login, where Redis allows less.
pub const BEFORE_LOGIN: &[Case] = cases! {
    "a request": b"GET k\r\n";
    "a request with ten arguments": b"*10\r\n$4\r\nMGET\r\n" + (9 x b"$1\r\nk\r\n");
    "a request with eleven arguments": b"*11\r\n$4\r\nMGET\r\n" + (10 x b"$1\r\nk\r\n");
    "an argument of 16 KiB": b"*2\r\n$3\r\nGET\r\n$16384\r\n" + (16384 x b"k") + b"\r\n";
    "an argument of 16 KiB and one": b"*2\r\n$3\r\nGET\r\n$16385\r\n" + (16385 x b"k") + b"\r\n";
    "a login with an argument of 16 KiB and one": b"*2\r\n$4\r\nAUTH\r\n$16385\r\n" + (16385 x b"k") + b"\r\n";
    "a login without anything": b"AUTH\r\n";
    "a login with too much": b"AUTH a b c\r\n";
    "a HELLO without a login": b"HELLO 3\r\n";
    "a HELLO that names itself": b"CLIENT SETNAME x\r\nHELLO 3 SETNAME\r\n";
    "a transaction": b"MULTI\r\nSET owned 1\r\nEXEC\r\n";
    "a subscription": b"SUBSCRIBE c\r\nPING\r\n";
    "a script": b"EVAL \"return 1\" 0\r\n";
    "a shutdown": b"SHUTDOWN NOSAVE\r\n";
    "a replica": b"PSYNC ? -1\r\nREPLCONF ACK 0\r\n";
    "an unknown command": b"NOSUCH\r\n";
    "the console": b"RESPOOL POOLS\r\n";
    "RESET": b"RESET\r\nPING\r\n";
    "QUIT": b"QUIT\r\nPING\r\n";
    "malformed input": b"*1\r\n:1\r\n";
    "a request of HTTP with a body": b"POST / HTTP/1.1\r\n\r\nPING\r\n";
};
