//! `/fleet`: what `ahoyd fleet` says, as a page that loads nothing and runs nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use ahoy_proto::control::table::{Cells, Escaped, HEAD};
use ahoy_proto::control::{Fleet, Supernode};
use axum::http::header;
use axum::response::{Html, IntoResponse};
use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

/// In seconds. Figures are a second old.
const REFRESH_EVERY: u32 = 5;

const STYLE: &str = include_str!("page.css");

/// The page, allowed to do nothing but to have this style.
pub(super) fn page(fleet: &Fleet) -> impl IntoResponse {
    let style = BASE64.encode(&Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (headers, Html(html(fleet, clock())))
}

/// Time of day, UTC.
fn clock() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

fn html(fleet: &Fleet, at: String) -> String {
    let living = fleet.supernodes.iter().map(|supernode| row(&supernode.cells(), &bar(supernode)));
    let missing = fleet.missing.iter().map(|missing| row(&missing.cells(), ""));
    let rows: String = living.chain(missing).collect();
    let heads: String = columns().map(|(class, name)| format!("<th{class}>{name}</th>")).collect();
    let network = Escaped(&fleet.network);
    let alarm = if fleet.fresh {
        ""
    } else {
        "<p class=\"alarm\">Leases can't be asked for now; this is what was seen last.</p>"
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{REFRESH_EVERY}\">\
         <title>Fleet of {network}</title><style>{STYLE}</style></head>\n<body>\
         <h1>Fleet of {network}</h1><p>As this supernode, marked *, sees it at {at}.</p>{alarm}\n{tiles}\n\
         <table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table></body></html>\n",
        tiles = tiles(fleet),
    )
}

fn tiles(fleet: &Fleet) -> String {
    let sum = fleet.sum();
    let missing = if sum.missing > 0 { format!("{} not there", sum.missing) } else { "all there".to_owned() };
    let share = format!("{:.0} % drained", sum.share_draining * 100.0);
    let each = format!("{:.0} on average, {} at most", sum.sessions_mean, sum.sessions_highest);
    let tile = |what: &str, number: u64, more: &str| {
        format!("<div><dt>{what}</dt><dd>{number}<small>{more}</small></dd></div>")
    };
    let supernodes = tile("Supernodes", sum.supernodes as u64, &missing);
    let draining = tile("Draining", sum.draining as u64, &share);
    let sessions = tile("Signed in", sum.sessions, &each);
    let limit = tile("Limit", sum.sessions_max, "signed in, on all together");
    let calls = tile("Calls", sum.calls, "in progress");
    format!("<dl>{supernodes}{draining}{sessions}{limit}{calls}</dl>")
}

/// Classes and names of the columns: words stand to the left.
fn columns() -> impl Iterator<Item = (&'static str, &'static str)> {
    HEAD.iter().map(|head| head.strip_prefix('>').map_or((" class=\"word\"", *head), |name| ("", name)))
}

fn row(cells: &Cells, bar: &str) -> String {
    let mut row = "<tr>".to_owned();
    for ((class, name), cell) in columns().zip(cells) {
        let cell = Escaped(cell);
        row += &match name {
            "Supernode" => format!("<td{class} data-label=\"{name}\"><code>{cell}</code></td>"),
            "State" => format!("<td class=\"word {cell}\" data-label=\"{name}\">{cell}</td>"),
            "Signed in" => format!("<td class=\"amount\" data-label=\"{name}\"><span>{cell}</span>{bar}</td>"),
            _ => format!("<td{class} data-label=\"{name}\">{cell}</td>"),
        };
    }
    row + "</tr>\n"
}

/// How full it is.
fn bar(supernode: &Supernode) -> String {
    let filled = f64::from(supernode.sessions) / f64::from(supernode.sessions_max.max(1)) * 100.0;
    format!(
        "<svg viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\
         <rect width=\"{filled:.1}\" height=\"4\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_supernode_says_stands_there_as_text() {
        let version = "<script>alert(1)</script>\"'&\u{1b}".to_owned();
        let supernode = Supernode { version, supernode: "ab".to_owned(), ..Supernode::default() };
        let page = html(&Fleet { supernodes: vec![supernode], ..Fleet::default() }, clock());
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\u{fffd}"), "{page}");
        assert!(!page.contains("<script"));
        assert!(page.contains("class=\"alarm\""), "not fresh");
    }

    #[test]
    fn nothing_in_the_page_needs_more_than_its_policy_allows() {
        let page = html(&Fleet::default(), clock());
        for needs in ["style=", "src=", "href=", "onclick", "url("] {
            assert!(!page.contains(needs), "{needs}");
        }
    }
}
