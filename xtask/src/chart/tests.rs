use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_templates_are_those_of_the_base() -> Result<()> {
    let made = files(&root())?;
    for (path, text) in &made {
        let there = fs::read_to_string(root().join(CHART).join(path)).unwrap_or_default();
        assert!(there == *text, "{} differs: cargo xtask chart", path.display());
    }
    let folder = root().join(CHART).join("templates");
    // The notes have no object.
    let files = fs::read_dir(folder)?.flatten().filter(|file| file.file_name() != "NOTES.txt");
    for file in files {
        let path = Path::new("templates").join(file.file_name());
        assert!(made.contains_key(&path), "{} is not made from the base", path.display());
    }
    Ok(())
}

#[test]
fn a_base_that_changed_is_noticed() {
    assert!(changed("namespace: other", &[NAMESPACE]).is_err());
    assert!(changed("namespace: kube-system\nnamespace: kube-system", &[NAMESPACE]).is_err());
}

#[test]
fn braces_of_others_are_printed() {
    assert_eq!(escaped("{{ $value }}"), r#"{{ "{{" }} $value {{ "}}" }}"#);
}

#[test]
fn the_versions_are_that_of_the_workspace() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let chart = fs::read_to_string(root().join(CHART).join("Chart.yaml"))?;
    for key in ["version", "appVersion"] {
        assert!(chart.lines().any(|line| line == format!("{key}: {version}")), "{key}");
    }
    let boot = [
        "manifests/components/boot",
        "manifests/overlays/boot-remove",
        "manifests/components/cni",
        "manifests/overlays/cni-remove",
    ];
    for folder in [BASE, "manifests/overlays/uninstall"].into_iter().chain(boot) {
        let text = fs::read_to_string(root().join(folder).join("kustomization.yaml"))?;
        assert!(text.contains(&format!("newTag: {version}\n")), "{folder}");
    }
    Ok(())
}
