//! Replays what fuzzing found, without a fuzzer.

use std::path::Path;

/// How many bytes of the repository the corpus may take.
const LARGEST_CORPUS: u64 = 200 << 10;

#[test]
fn every_input_of_the_corpus_is_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for (name, target) in fuzz::TARGETS {
        let folder = std::fs::read_dir(corpus.join(name)).expect("a folder for each target");
        let mut inputs = 0;
        for entry in folder {
            let path = entry.expect("an entry").path();
            let input = std::fs::read(&path).expect("an input");
            println!("{}", path.display()); // the last one, where a target panics
            target(&input);
            inputs += 1;
            bytes += input.len() as u64;
        }
        assert!(inputs > 10, "{inputs} inputs for {name}");
    }
    assert!(bytes < LARGEST_CORPUS, "the corpus has {bytes} bytes");
}
