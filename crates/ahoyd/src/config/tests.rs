use std::io::Write as _;

use super::check::private_key;
use super::*;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn from_file(text: &str) -> anyhow::Result<Config> {
    load(Layers { file: Some(file(text).path()), ..Layers::default() })
}

fn settings(settings: &[&str]) -> anyhow::Result<Config> {
    let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
    load(Layers { settings: &settings, ..Layers::default() })
}

/// Paths of all leaves of a table, dotted.
fn leaves(table: &toml::Table) -> Vec<String> {
    let mut paths = Vec::new();
    for (key, value) in table {
        match value.as_table() {
            Some(section) => paths.extend(leaves(section).into_iter().map(|inner| format!("{key}.{inner}"))),
            None => paths.push(key.clone()),
        }
    }
    paths
}

#[test]
fn the_sample_is_the_defaults() {
    assert_eq!(from_file(SAMPLE).unwrap(), from_file("").unwrap());
}

#[test]
fn the_sample_has_every_key_that_there_is() {
    let all = layers::every_key();
    let config: Config = all.clone().try_into().unwrap();
    let written = toml::Table::try_from(&config).unwrap();
    let (mut all, mut written) = (leaves(&all), leaves(&written));
    all.sort();
    written.sort();
    assert_eq!(all, written);
}

#[test]
fn every_key_of_the_sample_is_explained() {
    for (number, line) in SAMPLE.lines().enumerate().filter(|(_, line)| line.contains(" = ")) {
        let mut above = SAMPLE.lines().take(number).collect::<Vec<_>>().into_iter().rev();
        let explained = above.find(|line| !line.contains(" = ") && !line.starts_with('['));
        assert!(explained.is_some_and(|comment| comment.starts_with("# ")), "{line}");
    }
}

#[test]
fn what_is_shown_reads_back() {
    let config = settings(&["name=example.org", "tls.key=/k", "tls.certificate=/c"]).unwrap();
    assert_eq!(from_file(&toml::to_string(&config).unwrap()).unwrap(), config);
}

#[test]
fn what_is_shown_holds_no_password_and_no_token() {
    for (address, shown) in [
        ("postgres://ahoy:s@cret@10.0.0.1/ahoy", "postgres://ahoy:***@10.0.0.1/ahoy"),
        ("postgres:///ahoy?host=/run/postgresql", "postgres:///ahoy?host=/run/postgresql"),
        ("redis://valkey.internal:6379", "redis://valkey.internal:6379"),
    ] {
        assert_eq!(without_password(address), shown);
    }
    let shown = toml::to_string(
        &settings(&["fabric=redis://:s3cr3t@valkey:6379", "enrolment_token=t0ken"]).unwrap().without_secrets(),
    )
    .unwrap();
    assert!(
        !shown.contains("s3cr3t") && !shown.contains("t0ken") && shown.contains("redis://:***@valkey:6379"),
        "{shown}"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let text = "name = \"example.org\"\n\n[log]\nlevel = \"info\"\n  colour = true\n";
    let error = from_file(text).unwrap_err().to_string();
    assert!(error.contains(":5:3: unknown field `colour`"), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_value_of_the_wrong_type_is_refused_with_its_place() {
    let error = from_file("reconnect_spread_s = 1\nlisten = [\"everywhere\"]\n").unwrap_err().to_string();
    assert!(error.contains(":2:"), "{error}");
    let error = from_file("name = \n").unwrap_err().to_string();
    assert!(error.contains(":1:"), "{error}");
}

#[test]
fn the_file_beats_the_defaults_the_environment_the_file_and_the_command_line_all() {
    let file = file("region = \"file\"\nshards = 2\n[log]\nlevel = \"file\"\n");
    let environment = |variable: &str, text: &str| (variable.to_owned(), text.to_owned());
    let config = load(Layers {
        file: Some(file.path()),
        environment: vec![
            environment("AHOY_LOG_LEVEL", "environment"),
            environment("AHOY_REGION", "environment"),
            environment("AHOY_SOMETHING_ELSE", "x"),
        ],
        settings: &["region=flag".to_owned()],
        ..Layers::default()
    })
    .unwrap();
    assert_eq!((config.shards, config.log.level.as_str(), config.region.as_str()), (2, "environment", "flag"));
    assert_eq!(config.reconnect_spread_s, 5);
}

#[test]
fn a_mistake_outside_the_file_names_where_it_stands() {
    let error = format!("{:#}", settings(&["log.colour=1"]).unwrap_err());
    assert!(error.contains("--set log.colour=1") && error.contains("no key"), "{error}");
    let environment = vec![("AHOY_SHARDS".to_owned(), "many".to_owned())];
    let error = format!("{:#}", load(Layers { environment, ..Layers::default() }).unwrap_err());
    assert!(error.contains("AHOY_SHARDS"), "{error}");
}

#[test]
fn lists_may_be_written_with_commas() {
    let config = settings(&["listen=127.0.0.1:1,[::1]:1", "admin.listen=[]"]).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:1".parse().unwrap(), "[::1]:1".parse().unwrap()]);
    assert!(config.admin.listen.is_empty());
}

#[test]
fn a_reachable_address_needs_a_certificate() {
    let reachable = settings(&["name=example.org", "listen=127.0.0.1:1,192.0.2.1:1"]).unwrap();
    assert!(reachable.check_tls().unwrap_err().to_string().contains("tls.certificate"));
    assert_eq!(reachable.api_addresses(), ["127.0.0.1:1".parse().unwrap()]);
    assert!(settings(&["listen=127.0.0.1:1,[::1]:1"]).unwrap().check_tls().is_ok());
    let half = settings(&["listen=127.0.0.1:1", "tls.key=/k"]).unwrap();
    assert!(half.check_tls().unwrap_err().to_string().contains("set both"));
}

#[test]
fn keys_that_disagree_are_refused() {
    let refused = |list: &[&str]| settings(list).unwrap().check().unwrap_err().to_string();
    assert!(refused(&["listen=127.0.0.1:1"]).contains("`name`"));
    assert!(refused(&["name=a.org", "listen=127.0.0.1:1,[::1]:2"]).contains("several ports"));
    assert!(refused(&["name=a.org", "listen=[]"]).contains("`listen` is empty"));
    assert!(refused(&["name=a.org", "public=[]"]).contains("`public` is empty"));
    assert!(refused(&["name=a.org", "echo=e"]).contains("`echo`"));
    assert!(refused(&["name=a.org", "shards=256"]).contains("`shards`"));
    assert!(settings(&["name=a.org"]).unwrap().check().is_ok());
}

#[test]
fn the_fleet_of_the_example_is_configured_well() {
    for file in [
        include_str!("../../../../deploy/fleet/a.toml"),
        include_str!("../../../../deploy/fleet/b.toml"),
        include_str!("../../../../deploy/fleet/c.toml"),
    ] {
        let config = from_file(file).unwrap();
        config.check().unwrap();
        assert!(config.fabric.is_some() && config.store.is_some());
    }
}

#[test]
fn a_fabric_that_is_no_address_is_refused_without_a_word_of_it() {
    let refused = settings(&["name=a.org", "fabric=http://u:sesame@valkey.internal"]).unwrap().check().unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("`fabric`") && refused.contains("redis-sentinel://"), "{refused}");
    assert!(!refused.contains("sesame"), "{refused}");
    assert!(settings(&["name=a.org", "fabric=redis-cluster://a:1,b:2"]).unwrap().check().is_ok());
}

#[test]
fn what_goes_in_the_clear_is_told_by_its_key_with_the_remedy_and_without_its_password() {
    let told = |store: &str, fabric: &str| {
        settings(&[&format!("store={store}"), &format!("fabric={fabric}")]).unwrap().in_the_clear()
    };
    let lines = told("postgres://ahoy:sesame@10.0.0.1/ahoy", "redis-sentinel://:sesame@10.0.0.1:26379/ahoy");
    assert!(
        matches!(lines[..], [store, fabric] if store.contains("`store`") && fabric.contains("`fabric`")),
        "{lines:?}"
    );
    assert!(lines[0].contains("sslmode=require") && lines[1].contains("rediss"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains("sesame") && !line.contains('\n')), "{lines:?}");
    let encrypted = told("postgres://ahoy@10.0.0.1/ahoy?sslmode=require", "rediss-sentinel://10.0.0.1:26379/ahoy");
    assert!(encrypted.is_empty(), "{encrypted:?}");
    assert!(told("postgres:///ahoy?host=/run/postgresql", "redis://127.0.0.1").is_empty());
    assert!(settings(&[]).unwrap().in_the_clear().is_empty(), "SQLite, and nobody else");
}

#[test]
fn roles_and_what_belongs_to_them_agree() {
    let check = |list: &[&str]| settings(list).unwrap().check().map_err(|error| format!("{error:#}"));
    let refused = |list: &[&str]| check(list).unwrap_err();
    assert!(settings(&["name=a.org"]).unwrap().is(Role::Supernode), "both by default");
    assert_eq!(check(&["roles=authority", "name=a.org"]), Ok(()));
    let alone = ["roles=supernode", "authority=https://a.org", "public=b.org:443"];
    assert_eq!(check(&alone), Ok(()), "a supernode alone needs no name");
    assert!(settings(&alone).unwrap().check_tls().is_ok(), "and no certificate of the web's");
    assert!(refused(&["roles=[]", "name=a.org"]).contains("`roles` is empty"));
    assert!(format!("{:#}", settings(&["roles=client"]).unwrap_err()).contains("roles"), "no such role");
    assert!(refused(&["name=a.org", "authority=https://a.org"]).contains("supernode alone"));
    assert!(refused(&["name=a.org", "enrolment_token=x"]).contains("supernode alone"));
    assert!(refused(&["roles=supernode", "public=b.org:443"]).contains("`authority` is missing"));
    assert!(refused(&["roles=supernode", "authority=https://a.org"]).contains("`public` is missing"));
    assert!(refused(&["roles=supernode", "authority=http://a.org", "public=b.org:443"]).contains("use https"));
    assert!(refused(&[&alone[..], &["echo=echo"]].concat()).contains("`echo`"));
    assert!(refused(&["name=a.org", "public=nowhere"]).contains("looks like"));
}

#[test]
fn a_key_that_everybody_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let key = file("secret");
    assert!(private_key(key.path()).is_ok());
    std::fs::set_permissions(key.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(private_key(key.path()).unwrap_err().to_string().contains("chmod 600"));
}
