//! What to say beside an error about a file that the system does not let this process read: as whom the process runs,
//! and how that user gets the right. Used wherever a configuration leads to a file.

use std::io;

use nix::unistd::{Gid, Group, Uid, User};

/// Stands behind the error; empty if the error is about anything but rights.
pub(crate) fn hint(error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return String::new();
    }
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let user = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
    let group = Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name);
    format!("; respool runs as user {user}: let its group read the file, by chgrp {group} FILE; chmod 640 FILE")
}
