//! The lines of a streamed batch (`trpc-accept: application/jsonl`).
//!
//! A head first promises one value per call; then `[chunk, status, [[value]]]` for each call as it is done. The original
//! defers `result` and `data` once more in chunks of their own; a value sent whole is the same to the client.

use super::envelope::Outcome;

/// Promises `calls` values: call index to a deferred value with the same number.
pub(crate) fn head(calls: usize) -> String {
    let promises: Vec<String> = (0..calls).map(|index| format!("\"{index}\":[[0],[null,0,{index}]]")).collect();
    format!("{{\"json\":{{{}}}}}\n", promises.join(","))
}

/// The line that fulfils the promise of call `index`.
pub(crate) fn line(index: usize, outcome: &Outcome) -> String {
    let mut line = format!("{{\"json\":[{index},0,[[");
    match outcome {
        Outcome::Answer(encoded) => {
            line.push_str("{\"result\":{\"data\":");
            line.push_str(encoded.json());
            line.push_str("}}]]]");
            encoded.write_meta("2.0.0.result.data", &mut line);
        }
        Outcome::Failure(failure) => {
            line.push_str("{\"error\":");
            line.push_str(&failure.shape());
            line.push_str("}]]]");
        }
    }
    line.push_str("}\n");
    line
}
