//! `matrix` of the program: its forms, its versions, its exit codes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The example repository.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/repository")
}

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    /// With a copy of the example's manifests.
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nftpol-{name}-{}", std::process::id()));
        let deploy = path.join("deploy");
        fs::create_dir_all(&deploy).expect("a folder");
        for part in ["namespaces.yaml", "shop", "monitoring", "ingress"] {
            copy(&example().join("deploy").join(part), &deploy.join(part));
        }
        Self(path)
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        run(&self.0, arguments)
    }

    fn replace(&self, file: &str, from: &str, to: &str) {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).expect("a manifest");
        assert!(text.contains(from), "{from} is in {file}");
        fs::write(path, text.replacen(from, to, 1)).expect("a manifest");
    }

    fn git(&self, arguments: &[&str]) {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        let mut git = Command::new("git");
        let status = git.current_dir(&self.0).args(identity).args(arguments).status();
        assert!(status.expect("git").success(), "git {arguments:?}");
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).expect("a copy");
        return;
    }
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kubectl-nftpol"))
        .current_dir(folder)
        .arg("matrix")
        .args(arguments)
        .env_remove("KUBECONFIG")
        .output()
        .expect("the program");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("no signal"), text(stdout), text(stderr))
}

fn answer(arguments: &[&str]) -> String {
    let (code, answer, errors) = run(&example(), arguments);
    assert_eq!(code, 0, "{errors}");
    answer
}

/// The columns backup, cart, db and front of each row.
const SHOP: [(&str, [&str; 4]); 9] = [
    ("internet", ["·", "·", "·", "·"]),
    ("198.51.100.0/24", ["·", "·", "·", "·"]),
    ("2001:db8:51::/48", ["·", "·", "·", "·"]),
    ("ingress/proxy(2)", ["·", "·", "·", "8080"]),
    ("monitoring/prometheus(2)", ["·", "9090", "·", "9090"]),
    ("backup", ["-", "·", "5432", "·"]),
    ("cart(2)", ["·", "·", "5432", "·"]),
    ("db", ["·", "·", "-", "·"]),
    ("front(3)", ["·", "8080", "·", "·"]),
];

#[test]
fn a_terminal_gets_a_table_with_ports() {
    let table = answer(&["-f", "deploy", "-n", "shop", "--width", "200"]);
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().expect("a head");
    assert_eq!(head[..3], ["internet", "198.51.100.0/24", "2001:db8:51::/48"], "outside first");
    assert_eq!(head[head.len() - 4..], ["backup", "cart(2)", "db", "front(3)"]);
    for ((name, cells), row) in SHOP.into_iter().zip(lines) {
        assert_eq!((row[0], &row[row.len() - 4..]), (name, &cells[..]), "{table}");
    }
}

#[test]
fn a_narrow_terminal_gets_a_list() {
    let list = answer(&["-f", "deploy", "--width", "40"]);
    assert!(list.contains("shop/front(3)\n"), "{list}");
    assert!(list.contains("  -> shop/cart(2): 8080\n"), "{list}");
    assert!(list.contains("internet\n  -> nobody\n"), "{list}");
}

#[test]
fn the_forms_for_programs_have_each_pair() {
    let csv = answer(&["-f", "deploy", "-o", "csv", "--between", "shop/front", "shop/cart"]);
    assert_eq!(csv, "from,to,ipv4,ipv6\nshop/front,shop/cart,8080,8080\n");
    let json = answer(&["-f", "deploy", "-o", "json", "--between", "internet", "ingress"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["pairs"][0]["from"], "ingress/proxy");
    assert_eq!(json["pairs"][0]["ipv6"], serde_json::json!(["all"]));
    let dot = answer(&["-f", "deploy", "-o", "dot", "-n", "shop"]);
    assert!(dot.contains("label=\"shop\"") && dot.contains("[label=\"8080\"]"), "{dot}");
    assert!(!dot.contains("color=red"));
    assert!(answer(&["-f", "deploy", "-o", "dot", "--denied"]).contains("color=red"));
    let markdown = answer(&["-f", "deploy", "-o", "md", "-n", "shop"]);
    assert!(markdown.contains("| **cart\\(2\\)** |"), "{markdown}");
    let page = answer(&["-f", "deploy", "-o", "html"]);
    assert!(page.starts_with("<!doctype html>") && page.contains("shop/front-from-ingress"));
}

/// The API server takes any kind and name of an owner that is not empty
/// (`ValidateOwnerReferences`, pkg apimachinery/pkg/api/validation/objectmeta.go).
#[test]
fn the_name_of_an_owner_writes_no_control_characters() {
    let folder = Folder::new("owner");
    let pod = |name: &str, owner: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: shop\n  \
             labels: {{app: odd}}\n  ownerReferences:\n  - {{apiVersion: a/v1, controller: true, \
             uid: u, kind: \"K\\e[31m{owner}\", name: \"{owner}\\e[2J\\u202e<script>\"}}\n\
             spec: {{containers: [{{name: c}}]}}\n\
             status: {{phase: Running, podIPs: [{{ip: 10.5.0.{}}}]}}\n",
            owner.len()
        )
    };
    fs::write(folder.0.join("deploy/odd.yaml"), pod("a", "x") + &pod("b", "yy")).expect("a file");
    for form in ["text", "csv", "md", "dot", "html", "json"] {
        for width in ["40", "200"] {
            let arguments = ["-f", "deploy", "-o", form, "--width", width];
            let (code, text, errors) = folder.run(&arguments);
            assert_eq!(code, 0, "{errors}");
            assert!(!(text + &errors).contains(['\u{1b}', '\u{202e}']), "{form}, {width}");
        }
    }
}

#[test]
fn a_name_that_is_not_there_is_an_error_with_the_nearest() {
    let (code, _, errors) = run(&example(), &["-f", "deploy", "-n", "shopp"]);
    assert_eq!(code, 2);
    assert!(errors.contains("namespace shopp; did you mean shop?"), "{errors}");
    let (code, ..) = run(&example(), &["-f", "deploy", "--between", "shop/cat", "shop"]);
    assert_eq!(code, 2);
}

#[test]
fn two_folders_differ_in_words() {
    let folder = Folder::new("folders");
    let before = example().join("deploy");
    let before = before.to_str().expect("UTF-8");
    let (code, words, errors) = folder.run(&["--diff", before, "deploy"]);
    assert_eq!((code, words.as_str()), (0, "nothing changes, of 70 pairs\n"), "{errors}");
    folder.replace("deploy/shop/policies.yaml", "values: [cart, backup]", "values: [cart]");
    let (code, words, _) = folder.run(&["--diff", before, "deploy"]);
    assert_eq!(code, 1);
    assert!(words.contains(" - shop/backup -> shop/db  closes 5432\n"), "{words}");
    assert!(words.contains("was allowed by shop/db ingress[0] ("), "{words}");
    assert!(words.ends_with("1 pair changes, of 70; nothing opens\n"), "{words}");
    assert_eq!(folder.run(&["--diff", before, "deploy", "--fail-on", "opens"]).0, 0);
    assert_eq!(folder.run(&["--diff", "deploy", before, "--fail-on", "opens"]).0, 1);
    assert_eq!(folder.run(&["--diff", "deploy", "nowhere"]).0, 2);
    assert_eq!(folder.run(&["--diff", "deploy", before, "-o", "html"]).0, 2);
}

#[test]
fn git_revisions_differ_in_words_and_in_a_comment() {
    let folder = Folder::new("git");
    folder.git(&["init", "-q", "-b", "main"]);
    folder.git(&["add", "-A"]);
    folder.git(&["commit", "-qm", "one"]);
    let policies = "deploy/shop/policies.yaml";
    folder.replace(
        policies,
        "        matchLabels: {app: front}\n    ports:\n    - {port: http}\n",
        "        matchLabels: {app: front}\n",
    );
    folder.git(&["commit", "-qam", "two"]);
    let (code, words, errors) = folder.run(&["--diff", "main~1..main", "-f", "deploy"]);
    assert_eq!(code, 1, "{errors}");
    assert!(words.contains(" + shop/front -> shop/cart  opens all (was 8080)\n"), "{words}");
    assert!(words.contains(&format!("ingress[0] (main:{policies}:39), which changed")), "{words}");
    let (code, comment, _) = folder.run(&["--diff", "main~1:deploy", "deploy", "-o", "md"]);
    assert_eq!(code, 1);
    assert!(comment.contains("| shop/front | shop/cart | opens all \\(was 8080\\) |"), "{comment}");
    let (code, _, errors) = folder.run(&["--diff", "nothing..main", "-f", "deploy"]);
    assert_eq!(code, 2);
    assert!(errors.contains("nothing is no file, no folder, no revision"), "{errors}");
    assert_eq!(folder.run(&["--diff", "--upload-pack=x..main", "-f", "deploy"]).0, 2);
}

/// Their pairs would take gigabytes.
#[test]
fn a_matrix_of_too_many_rows_is_refused() {
    let folder = Folder::new("matrix-rows");
    let blocks: Vec<String> = (0..6_000u32)
        .map(|number| {
            let [_, _, high, low] = (number * 2).to_be_bytes();
            format!("{{ipBlock: {{cidr: 203.0.{high}.{low}/32}}}}")
        })
        .collect();
    let rules: Vec<String> =
        blocks.iter().enumerate().map(|(at, block)| rule(block, at + 1)).collect();
    let policy = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: many, namespace: \
         shop}}\nspec: {{podSelector: {{}}, ingress: [{}]}}\n",
        rules.join(", ")
    );
    fs::write(folder.0.join("deploy/shop/many.yaml"), policy).expect("a manifest");
    for arguments in [&["-f", "deploy"][..], &["--diff", "deploy/ingress", "deploy"]] {
        let (code, answer, errors) = folder.run(arguments);
        assert_eq!((code, answer.as_str()), (2, ""), "{errors}");
        assert!(errors.contains("5000 are the most. Give it fewer manifests"), "{errors}");
    }
}

fn rule(block: &str, port: usize) -> String {
    format!("{{from: [{block}], ports: [{{port: {port}}}]}}")
}
