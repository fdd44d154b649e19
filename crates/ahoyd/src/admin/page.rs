//! `/fleet`: what `ahoyd fleet` says, as a page that loads nothing and runs nothing.

use std::fmt::{self, Display, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

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
    let mut rows = String::new();
    for supernode in &fleet.supernodes {
        rows += &row(supernode);
    }
    for missing in &fleet.missing {
        let (id, address) = (Text(short(&missing.supernode)), Text(&missing.address));
        let _ = write!(
            rows,
            "<tr><td class=\"word\" data-label=\"Supernode\"><code>{id}</code></td>\
             <td class=\"word missing\" data-label=\"State\">not there</td>\
             <td class=\"word\" data-label=\"Address\">{address}</td></tr>"
        );
    }
    let network = Text(&fleet.network);
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
         <h1>Fleet of {network}</h1><p>As this supernode sees it at {at}.</p>{alarm}\n{tiles}\n\
         <table><thead><tr><th class=\"word\">Supernode</th><th class=\"word\">State</th><th class=\"word\">Address</th>\
         <th class=\"word\">Version</th><th>Signed in</th><th>Calls</th><th>Legs</th><th>Sees</th><th>Load</th>\
         <th>Lag</th></tr></thead>\n<tbody>{rows}</tbody></table></body></html>\n",
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

fn row(supernode: &Supernode) -> String {
    let Supernode { sessions, sessions_max, calls, legs, supernodes, load_permille, lag_ms, .. } = supernode;
    let id = Text(short(&supernode.supernode));
    let own = if supernode.own { " (this one)" } else { "" };
    let (class, state) = if supernode.draining { ("draining", "draining") } else { ("up", "up") };
    let (address, version) = (Text(&supernode.address), Text(&supernode.version));
    let filled = f64::from(*sessions) / f64::from((*sessions_max).max(1)) * 100.0;
    let load = load_permille / 10;
    format!(
        "<tr><td class=\"word\" data-label=\"Supernode\"><span><code>{id}</code>{own}</span></td>\
         <td class=\"word {class}\" data-label=\"State\">{state}</td>\
         <td class=\"word\" data-label=\"Address\">{address}</td><td class=\"word\" data-label=\"Version\">{version}</td>\
         <td class=\"amount\" data-label=\"Signed in\"><span>{sessions} of {sessions_max}</span>\
         <svg viewBox=\"0 0 100 4\" preserveAspectRatio=\"none\" aria-hidden=\"true\"><rect width=\"{filled:.1}\" height=\"4\"/></svg></td>\
         <td data-label=\"Calls\">{calls}</td><td data-label=\"Legs\">{legs}</td><td data-label=\"Sees\">{supernodes}</td>\
         <td data-label=\"Load\">{load} %</td><td data-label=\"Lag\">{lag_ms} ms</td></tr>\n"
    )
}

/// Enough of an id to tell it from others.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Text that stands in a page as text: what a supernode says of itself is anybody's who can write to Valkey.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c if c.is_control() => f.write_char('\u{fffd}')?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
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
