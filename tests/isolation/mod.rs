//! The promise of isolation: what one client sends, borrows or does not read costs another no reply and no
//! connection.

mod hostile;
mod lendings;
mod logins;
mod neighbours;
mod redirection;
mod shares;
mod siege;
mod unblocking;
mod upstream_limits;
mod users;
mod waiting;
