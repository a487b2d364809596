//! Prints the configuration file that is shipped:
//! `cargo run -p respool-settings --example shipped > config/respool.toml`.

fn main() {
    print!("{}", settings::shipped());
}
