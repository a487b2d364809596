//! Prints the configuration file that is shipped:
//! `cargo run -p settings --example shipped > config/respool.toml`.

fn main() {
    print!("{}", settings::shipped());
}
