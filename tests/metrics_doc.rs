//! `docs/metrics.md` lists the metrics that the program has, and the dashboard and the alert rules
//! name no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- metrics begin -->\n";
const END: &str = "<!-- metrics end -->";

#[test]
fn the_reference_lists_the_metrics_as_the_program_has_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = fs::read_to_string(&path).expect("the document");
    let (head, rest) = text.split_once(BEGIN).expect("the begin mark");
    let (told, tail) = rest.split_once(END).expect("the end mark");
    let wanted = natha::metrics::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = format!("{head}{BEGIN}{wanted}{END}{tail}");
        fs::write(&path, text).expect("a file that can be written");
    } else {
        assert_eq!(told, wanted, "run this test with UPDATE_DOCS=1 and look at the difference");
    }
}

const DASHBOARD: &str = include_str!("../observability/grafana-dashboard.json");
const RULES: &str = include_str!("../observability/prometheus-rules.yaml");

/// The words in a text that could be names of metrics.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    let prefixes = ["natha_", "node_nf_conntrack_", "process_"];
    words.filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix))).collect()
}

#[test]
fn the_dashboard_and_the_rules_name_only_metrics_that_exist() {
    let known: BTreeSet<&str> = natha::metrics::all().map(|metric| metric.name).collect();
    let base = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| name.strip_suffix(part).map(str::to_owned))
    };
    for text in [DASHBOARD, RULES] {
        let named = names(text);
        assert!(named.len() > 10, "{named:?}");
        for name in named {
            let of_histogram = base(name).is_some_and(|base| known.contains(base.as_str()));
            assert!(known.contains(name) || of_histogram, "{name}");
        }
    }
}
