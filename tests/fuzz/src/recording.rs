//! Recordings of any text, as from a bug report: each is read and replayed, or refused, and what
//! was read is written in the same way again.

use natha::record::{RecordedLine, RecordingReader, Replay, Timeline};

pub(crate) fn text(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let Ok((mut reader, header)) = RecordingReader::begin(lines.next().unwrap_or_default()) else {
        return;
    };
    let (_, again) = RecordingReader::begin(&header.to_line()).expect("it was just written");
    assert_eq!(again, header);
    let (mut replay, mut timeline) = (Replay::new(&header), Timeline::new(&header, true));
    for line in lines {
        let Ok(RecordedLine::Turn(turn)) = reader.next(line) else { return };
        let got = replay.turn(&turn);
        timeline.turn(&turn, &got, &replay);
        let (mut other, _) = RecordingReader::begin(&header.to_line()).expect("as above");
        let again = other.next(&turn.to_line()).expect("it was just written");
        assert_eq!(again, RecordedLine::Turn(turn));
    }
}
