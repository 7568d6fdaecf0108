//! The tests that need more than one crate. They are in `tests/`.
//!
//! | tests | what they check |
//! |---|---|
//! | `meaning`, `incremental`, `verify`, `suspects`, `histories` | random clusters: compiled table = specification, engine = from scratch, proof |
//! | `mutations` | named mistakes, each of which `verify` must find |
//! | `golden`, `coverage`, `docs` | whole rulesets as files; every field of the API and every page has its test |
//! | `packets`, `networks`, `protocols`, `edges`, `services`, `replies`, `midflow` | real packets match the specification |
//! | `fire`, `mended` | packets during a change |
//! | `connections`, `entries`, `retry` | live connections are ended when a policy denies them |
//! | `cli`, `broken` | the command: files, messages, exit codes |
//! | `agent` | the agent with a real API server: outages, repairs, rights, upgrades |
//! | `chaos` | a sample of `cargo xtask chaos`: everything goes wrong, the table is proved after each fault |
//! | `install` | manifests, chart, monitoring, upgrade, removal |
//! | `kubernetes`, `upstream`, `image` | the DaemonSet in a whole Kubernetes |
//! | `net`, `testbed`, `harness`, `apiserver`, `new_flows` | the tests' own instruments |
