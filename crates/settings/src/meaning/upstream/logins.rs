//! Logins at the upstream besides the gateway's own: whether the upstream decides who may log in, and as whom the requests
//! of single users run there.

use std::{collections::BTreeMap, sync::Arc};

use pool::{Login, LoginWorkers};

use crate::{
    Config, ConfigError,
    logins::users::DEFAULT_USER,
    meaning::{
        client_tls::names_users,
        pool_settings::POOLS_MAX,
        ranges::{one_of, value, within},
        secret_file,
        session::ALL_OTHERS,
        upstream::reads::read_settings,
    },
    sections::auth::User,
};

/// More connections of one user are a mistake: there are as many again for each other one.
const LOGIN_WORKERS_MAX: usize = 64;

/// Whether the upstream decides about logins. What it cannot decide about is refused.
pub(crate) fn is_upstreams(config: &Config) -> Result<bool, ConfigError> {
    let auth = &config.auth;
    if one_of("auth.mode", &auth.mode, ["gateway", "upstream"])? == 0 {
        return Ok(false);
    }
    if !auth.users.is_empty() {
        return value("auth.users", "names users of the gateway, and auth.mode leaves users to the upstream");
    }
    if names_users(config)? && !config.users.values().any(has_login) {
        let problem =
            "needs users.NAME.upstream_password_file of each: the upstream knows its users by their passwords";
        return value("tls.user_from_certificate", problem);
    }
    refuse_where_logins_are_not_told_apart("auth.mode", config)?;
    match read_settings(config)? {
        None => Ok(true),
        Some(_) => value("upstream.reads", "with auth.mode = \"upstream\", the reads of all users go to the primary"),
    }
}

/// Whether its requests run as a user of its own.
pub(crate) fn has_login(user: &User) -> bool {
    !user.upstream_password_file.is_empty()
}

/// `key` has something run as another user of the upstream than the gateway's own.
fn refuse_where_logins_are_not_told_apart(key: &str, config: &Config) -> Result<(), ConfigError> {
    let url = &config.upstream.url;
    match () {
        () if url == "embedded" => value(key, "the embedded upstream has no users"),
        () if config.pubsub.mode == "shared" => {
            value("pubsub.mode", "\"shared\" is one subscriber for all, who has no user's rights; take \"dedicated\"")
        }
        () => Ok(()),
    }
}

/// The logins of those users who have one of their own at the upstream; `note` is told what comes from a file.
pub(crate) fn logins(
    config: &Config,
    note: &mut dyn FnMut(&str, &[u8]),
) -> Result<BTreeMap<String, Login>, ConfigError> {
    let mut logins = BTreeMap::new();
    for (name, user) in &config.users {
        let key = |key: &str| format!("users.{name}.{key}");
        if !has_login(user) {
            if !user.upstream_user.is_empty() {
                return value(&key("upstream_user"), "needs upstream_password_file");
            }
            continue;
        }
        let file = key("upstream_password_file");
        refuse_where_logins_are_not_told_apart(&file, config)?;
        let is_known = config.auth.users.contains_key(name)
            || is_upstreams(config)?
            || (config.auth.users.is_empty() && name == DEFAULT_USER);
        if !is_known || name == ALL_OTHERS {
            return value(&file, format!("\"{name}\" is not in auth.users"));
        }
        if is_upstreams(config)? && !user.upstream_user.is_empty() && user.upstream_user != *name {
            return value(&key("upstream_user"), "with auth.mode = \"upstream\" a user has the same name there");
        }
        if !user.reads.is_empty() {
            return value(&key("reads"), "the reads of a user with upstream_password_file go to the primary");
        }
        let password = secret_file::read(&file, &user.upstream_password_file)?;
        note(&file, password.as_bytes());
        let login = Login::User { name: Some(upstream_name(name, user).into()), password: password.into() };
        logins.insert(name.clone(), login);
    }
    Ok(logins)
}

fn upstream_name<'u>(name: &'u str, user: &'u User) -> &'u str {
    if user.upstream_user.is_empty() { name } else { &user.upstream_user }
}

/// The pools that there may be with the gateway's own login, and the further logins. Those that a file names have all the
/// room that they need, also beside those that it named before.
pub(crate) fn pools_max(config: &Config) -> Result<(usize, usize), ConfigError> {
    let nodes = within("pool.pools_max", config.pool.pools_max, 1, POOLS_MAX)?;
    let logins = within("auth.logins_max", config.auth.logins_max, 1, POOLS_MAX)?;
    let own = config.users.values().filter(|user| has_login(user)).count();
    Ok((nodes, if is_upstreams(config)? { logins } else { nodes * (1 + own) }))
}

/// Workers of pools of further logins.
pub(crate) fn login_workers(config: &Config) -> Result<LoginWorkers, ConfigError> {
    let mut named = BTreeMap::new();
    for (name, user) in &config.users {
        let workers = within(&format!("users.{name}.workers"), user.workers, 1, LOGIN_WORKERS_MAX)?;
        // Several may be one user there.
        let most = named.entry(upstream_name(name, user).to_owned()).or_insert(workers);
        *most = workers.max(*most);
    }
    Ok(LoginWorkers { others: named.get(ALL_OTHERS).copied().unwrap_or(1), named: Arc::new(named) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GatewaySettings;

    fn settings(toml: &str) -> Result<GatewaySettings, String> {
        GatewaySettings::new(&toml::from_str(toml).expect("TOML")).map_err(|error| error.to_string())
    }

    /// `[users.app]` with `keys`, and a password in a file.
    fn of_app(config: &str, keys: &str) -> Result<GatewaySettings, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("secret");
        std::fs::write(&path, "secret\n").expect("written");
        settings(&format!("{config}\n[users.app]\nupstream_password_file = \"{}\"\n{keys}", path.display()))
    }

    const URL: &str = "[upstream]\nurl = \"redis://h\"";

    fn users() -> String {
        format!("[auth.users]\napp = \"{}\"\nother = \"{}\"\n{URL}", "0".repeat(64), "1".repeat(64))
    }

    #[test]
    fn a_user_may_have_a_login_of_its_own_and_pools_for_all_of_them() {
        let of_cluster = users().replace("redis://h", "redis-cluster://h");
        let found = of_app(&users(), "upstream_user = \"reader\"\nworkers = 3").unwrap();
        let users = &found.session.users;
        assert_eq!((users.login_of("app").name(), users.login_of("other")), (Some("reader"), Login::Configured));
        assert!(users.are_known_upstream() && users.may_be_proven("other"));
        assert_eq!(found.pool.login_workers.named.get("reader"), Some(&3));
        assert_eq!((found.pool.logins_max, settings(URL).unwrap().pool.logins_max), (128, 64));
        let found = of_app(&format!("[auth]\nmode = \"upstream\"\npeers = [\"0:app\"]\n{URL}"), "").unwrap();
        assert!(found.session.users.may_be_proven("app") && !found.session.users.may_be_proven("other"));
        assert_eq!(found.session.peers.user(0), Some("app"));
        // Also of a cluster, where logins take no place of a node.
        let cluster = URL.replace("redis://h", "redis-cluster://h");
        let found = settings(&format!("[auth]\nmode = \"upstream\"\nlogins_max = 9\n{cluster}")).unwrap();
        assert_eq!((found.pool.pools_max, found.pool.logins_max), (64, 9));
        assert!(of_app(&of_cluster, "").is_ok());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let upstream = format!("[auth]\nmode = \"upstream\"\n{URL}");
        for (config, keys, problem) in [
            (URL.to_owned(), "", "users.app.upstream_password_file: \"app\" is not in auth.users"),
            (users().replace("redis://h", "embedded"), "", "users.app.upstream_password_file: the embedded"),
            (format!("{}\n[pubsub]\nmode = \"shared\"", users()), "", "pubsub.mode: \"shared\""),
            (users(), "reads = \"replica\"", "users.app.reads: the reads"),
            (upstream.clone(), "upstream_user = \"b\"", "users.app.upstream_user: with auth.mode"),
            (upstream.replace("mode", "peers = [\"0:b\"]\nmode"), "", "auth.peers: \"b\" has no"),
        ] {
            let found = of_app(&config, keys).expect_err("refused");
            assert!(found.starts_with(problem), "{found}");
        }
        let alone = settings(&format!("{}\n[users.app]\nupstream_user = \"b\"", users())).expect_err("refused");
        assert_eq!(alone, "users.app.upstream_user: needs upstream_password_file");
        let by_name = format!("{upstream}\n[tls]\nclient_auth = \"optional\"\nuser_from_certificate = \"CN\"");
        assert!(settings(&by_name).expect_err("refused").starts_with("tls.user_from_certificate: needs users.NAME"));
    }
}
