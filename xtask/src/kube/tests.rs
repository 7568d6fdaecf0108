use super::*;

#[test]
fn the_version_is_that_of_the_module() -> Result<()> {
    let modules = "
        tool k8s.io/kubernetes/cmd/kubectl
        require (
            k8s.io/kubelet v0.36.3 // indirect
            k8s.io/kubernetes v1.36.3 // indirect
        )";
    assert_eq!(version(modules)?, "v1.36.3");
    assert_eq!(version("require k8s.io/kubernetes v1.37.0-rc.1")?, "v1.37.0-rc.1");
    assert!(version("require k8s.io/kubelet v0.36.3").is_err());
    assert_eq!(
        linker_flags("v1.36.3")?,
        "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
         -X k8s.io/component-base/version.gitMajor=1 \
         -X k8s.io/component-base/version.gitMinor=36"
    );
    Ok(())
}

#[test]
fn every_program_is_a_tool_of_the_module() -> Result<()> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let modules = |source: &str| fs::read_to_string(repository.join(source).join("go.mod"));
    for group in [SERVER, NODES, E2E, CALICO] {
        let modules = modules(group.source)?;
        for (program, package) in group.programs {
            assert!(modules.lines().any(|line| line.trim() == *package), "{program}: {package}");
        }
    }
    let modules = modules(SOURCE)?;
    assert!(modules.lines().any(|line| line.starts_with(&format!("go 1.{GO_MINOR}."))));
    version(&modules)?;
    Ok(())
}

#[test]
fn a_given_folder_has_a_server_and_may_have_nodes() {
    let nowhere = Path::new("/nonexistent");
    assert!(given(nowhere, &SERVER).is_err());
    assert!(given(nowhere, &NODES).is_ok_and(|there| !there));
    assert!(given(nowhere, &E2E).is_ok_and(|there| !there));
}

#[test]
fn go_says_its_version() {
    assert_eq!(minor("go version go1.26.8 linux/amd64\n"), Some(26));
    assert_eq!(minor("go version go1.27rc1 linux/amd64"), Some(27));
    assert_eq!(minor("go version devel"), None);
}
