//! Any bytes as a file, and any bytes as the records of a chunk whose checksum is right.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trapline_trace::Recording;
use trapline_trace::format::FileWriter;

fuzz_target!(|bytes: &[u8]| {
    look_at(bytes.to_vec());
    let Ok(mut writer) = FileWriter::new(Vec::new()) else { return };
    if writer.chunk(0, bytes).is_ok() {
        look_at(writer.into_inner());
    }
});

/// Looks at whatever can be looked at.
fn look_at(bytes: Vec<u8>) {
    let Ok(recording) = Recording::from_bytes(bytes) else { return };
    let _ = recording.damage().map(ToString::to_string);
    for step in recording.first_step().into_iter().chain(recording.last_step()) {
        let mirror = recording.state_at(step).expect("a step that is there has a state");
        let _ = mirror.text();
        assert!(recording.records_of(step).count() > 0);
    }
    let _ = recording.end().text();
}
