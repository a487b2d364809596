//! Writes the manual pages of both programs and their completions for bash, zsh and fish, made from the command
//! lines themselves, into a folder: `cargo run --package respool-loadtest --example manuals -- FOLDER`. Packages bring
//! them along.

use std::{env, fs, io, path::Path};

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1) else {
        return Err(io::Error::other("name the folder to write to"));
    };
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let version = env!("CARGO_PKG_VERSION");
    for command in [settings::Args::described(version), loadtest::cli::Cli::command()] {
        clap_mangen::generate_to(command.clone(), folder)?;
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut command.clone(), &name, folder)?;
        }
    }
    Ok(())
}
