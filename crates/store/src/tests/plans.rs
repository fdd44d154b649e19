//! No statement grows slow as tables grow.

use super::*;

/// All there are.
fn statements() -> Vec<&'static str> {
    let all = [
        accounts::STATEMENTS,
        commits::STATEMENTS,
        contacts::STATEMENTS,
        conversations::STATEMENTS,
        cursors::STATEMENTS,
        deletion::STATEMENTS,
        devices::STATEMENTS,
        expiry::STATEMENTS,
        inbox::STATEMENTS,
        invites::STATEMENTS,
        key_packages::STATEMENTS,
        lists::STATEMENTS,
        log::STATEMENTS,
        members::STATEMENTS,
        operator::STATEMENTS,
        receipts::STATEMENTS,
        reports::STATEMENTS,
        settings::STATEMENTS,
        supernodes::STATEMENTS,
    ];
    all.concat()
}

#[test]
fn on_sqlite_no_statement_reads_a_whole_table() {
    let folder = TempDir::new().unwrap();
    let connection = sqlite::schema::open(&folder.path().join("ahoy.db")).unwrap();
    for statement in statements() {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let rows = explain.raw_query();
        let steps: Vec<String> = rows.mapped(|row| row.get(3)).collect::<Result<_, _>>().unwrap();
        for step in steps {
            // The roster is only ever read whole, and counted when it grows.
            let whole_table = step.starts_with("SCAN") && step != "SCAN supernodes" && step != "SCAN CONSTANT ROW";
            assert!(!whole_table && !step.contains("TEMP B-TREE"), "{statement}: {step}");
        }
    }
}

#[test]
fn on_postgresql_every_statement_finds_its_rows_in_an_index() {
    let world = on_postgres::World::new();
    for (number, statement) in statements().into_iter().enumerate() {
        let digits =
            |rest: &str| rest.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok());
        let nulls = vec!["NULL"; statement.split('?').filter_map(digits).max().unwrap_or(0)].join(", ");
        let values = if nulls.is_empty() { nulls } else { format!("({nulls})") };
        let prepare: &str = format!("PREPARE p{number} AS {statement}").leak();
        let explain: &str = format!("EXPLAIN EXECUTE p{number} {values}").leak();
        let plan = world.behind(move |transaction| {
            // The plan for any values, and by index where there is one, though the tables are empty.
            for setting in [
                "SET LOCAL enable_seqscan = off",
                "SET LOCAL enable_bitmapscan = off",
                "SET LOCAL enable_sort = off",
                "SET LOCAL plan_cache_mode = force_generic_plan",
                prepare,
            ] {
                transaction.execute(setting, params![])?;
            }
            transaction.all(explain, params![], |row| row.get::<String>(0))
        });
        let steps = |what: &str| plan.iter().filter(|step| step.contains(what)).count();
        // The roster is only ever read whole, and counted when it grows.
        if !plan.iter().any(|step| step.contains(" on supernodes")) {
            let plan = plan.join("\n");
            let (by_index, whole) =
                (steps("Index Scan ") + steps("Index Only Scan "), steps("Seq Scan") + steps("Sort"));
            assert!(steps("Index Cond") >= by_index && whole == 0, "{statement}:\n{plan}");
        }
    }
}

/// Every file of this crate that holds statements hands them to the test above.
#[test]
fn no_statement_escapes_the_look_at_its_plan() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let test = std::fs::read_to_string(sources.join("tests").join("plans.rs")).unwrap();
    for file in std::fs::read_dir(sources).unwrap() {
        let path = file.unwrap().path();
        let module = path.file_stem().unwrap().to_str().unwrap();
        let has_statements =
            path.is_file() && std::fs::read_to_string(&path).unwrap().contains("crate::statements::statements! {");
        assert!(!has_statements || test.contains(&format!("{module}::STATEMENTS")), "{module}");
    }
}
