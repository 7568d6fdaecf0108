//! `nftpol cleanup`.

use anyhow::Result;
use netbed::net::Namespace;
use netbed::program;

use super::support::{generation, good, listing, nft, nftpol};

#[test]
fn our_tables_go_and_all_others_stay() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let others = "table inet nft {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n\
                  table ip nftpol {\n}\ntable ip6 nftpol-2 {\n}\ntable inet my-nftpol {\n}\n";
    nft(&namespace, &["-f", "-"], others)?;
    let before = listing(&namespace)?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    nft(&namespace, &["-f", "-"], "table inet nftpol-2 {\n\tchain c {\n\t}\n}\n")?;

    let first = program::run(&namespace, &["cleanup"], "")?;
    assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""));
    assert_eq!(first.stdout, "table inet nftpol deleted\ntable inet nftpol-2 deleted\n");
    assert_eq!(listing(&namespace)?, before);

    let generation_before = generation(&namespace)?;
    let second = program::run(&namespace, &["cleanup"], "")?;
    assert_eq!((second.code, second.stderr.as_str()), (Some(0), ""));
    assert_eq!(second.stdout, "no table of nftpol is here\n");
    assert_eq!(listing(&namespace)?, before);
    assert_eq!(generation(&namespace)?, generation_before);
    Ok(())
}

#[test]
fn after_it_apply_starts_anew() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = listing(&namespace)?;
    program::run(&namespace, &["cleanup"], "")?.success()?;
    assert_eq!(listing(&namespace)?, "");
    nftpol(&namespace, &["apply"], &good())?.success()?;
    assert_eq!(listing(&namespace)?, before);
    Ok(())
}
