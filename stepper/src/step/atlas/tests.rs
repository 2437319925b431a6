//! Of any recording, what is to be seen at each place.

#[path = "../../../../trace/tests/support/mod.rs"]
mod random;

use super::*;

/// Any run, with a gap in it.
fn any(seed: u64) -> Atlas {
    let mut run = random::Run::new(seed, 120);
    run.gap(7);
    (0..40).for_each(|_| run.step());
    let bytes = random::file(&run.records, 200);
    Atlas::new(Recording::from_bytes(bytes).expect("a recording"))
}

/// All steps, from the beginning on.
fn steps(atlas: &Atlas) -> Vec<u64> {
    std::iter::successors(atlas.next(atlas.beginning()), |step| atlas.next(*step)).collect()
}

#[test]
fn step_looked_at_then_its_state_is_that_of_the_recording() {
    for seed in 0..2 {
        let atlas = any(seed);
        for step in steps(&atlas) {
            let scene = atlas.scene(Cursor::after(step));
            let state = atlas.recording.state_at(step).expect("a step of the recording");
            assert_eq!(scene.now.text(), state.text(), "seed {seed}, step {step}");
            assert!(scene.is_whole());
        }
    }
}

#[test]
fn phases_of_a_step_then_they_are_all_its_records_in_order() {
    for seed in 0..2 {
        let atlas = any(seed);
        for step in steps(&atlas) {
            let scene = atlas.scene(Cursor::after(step));
            let mut end = scene.prelude;
            for beat in &scene.beats {
                assert_eq!(beat.records.start, end, "seed {seed}, step {step}");
                end = beat.records.end;
            }
            assert_eq!(end, scene.records.len(), "seed {seed}, step {step}");
            for over in 0..=scene.beats.len() {
                let part = atlas.scene(Cursor { step, phases: Some(over) });
                assert_eq!(part.over, over);
            }
        }
    }
}

#[test]
fn all_steps_forward_then_the_same_back_and_none_is_left_out() {
    for seed in 0..2 {
        let atlas = any(seed);
        let forward = steps(&atlas);
        assert_eq!(forward.len() as u64, atlas.recording.steps(), "seed {seed}");
        let last = Some(atlas.last());
        let mut back: Vec<u64> =
            std::iter::successors(last, |step| atlas.previous(*step)).collect();
        assert_eq!(back.pop(), Some(atlas.beginning()));
        back.reverse();
        assert_eq!(back, forward, "seed {seed}");
    }
}

#[test]
fn recording_read_in_portions_then_all_that_is_known_is_as_if_it_had_been_read_at_once() {
    for seed in 0..2 {
        let mut run = random::Run::new(seed, 120);
        run.gap(7);
        (0..40).for_each(|_| run.step());
        let name = format!("trapline-grown-{seed}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, random::file(&run.records, 200)).expect("written");
        let mut grown = Atlas::begin(&path).expect("a recording");
        while grown.grow(333).expect("it can be read") > 0 {}
        let whole = Atlas::new(Recording::open(&path).expect("a recording"));
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(format!("{:?}", grown.history), format!("{:?}", whole.history), "seed {seed}");
        assert_eq!(steps(&grown), steps(&whole), "seed {seed}");
    }
}
