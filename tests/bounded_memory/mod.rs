//! The promise of bounds: every queue and buffer has one, and a client that reaches it waits or gets an error.

mod backpressure;
mod before_login;
mod borrowed_replies;
mod input_room;
mod large_replies;
mod late_rests;
mod limits;
mod overload;
mod own_answers;
mod sum;
