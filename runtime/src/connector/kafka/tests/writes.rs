//! Rows on their way out: as they were given, in their transaction, in their order, and those that a topic refuses.

use super::*;

#[test]
fn rows_come_back_as_they_were_written_null_and_empty_apart() {
    let topic = topic("roundtrip", 1, &[]);
    let domain = domain("roundtrip", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    let mut rows = Batch::default();
    type Item = Option<&'static [u8]>;
    let cases: [(Item, Item, Item, i64); 5] = [
        (
            Some(b"k"),
            Some(b"v"),
            Some(b"\x01\x00h\x01\x00\x00\x00x\x01\x00n\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00"),
            1_000,
        ),
        (None, Some(b"no key"), None, 2_000),
        (Some(b""), Some(b""), None, 3_000),
        (Some(b"tombstone"), None, None, 4_000),
        (Some(b"k"), Some(b"last"), Some(b"\x01\x00z\x00\x00\x00\x00"), 5_000),
    ];
    for (key, value, headers, time) in cases {
        rows.times.push(time);
        rows.keys.push(key);
        rows.values.push(value);
        rows.headers.push(headers);
    }
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows);
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    let mut back = Batch::default();
    wait_for("the rows", || {
        back = read_all(&topic);
        back.len() == rows.len()
    });
    assert_eq!((&back.keys, &back.values, &back.headers), (&rows.keys, &rows.values, &rows.headers));
    assert_eq!(back.times, rows.times);
    assert_eq!(back.origin(4), Some((0, 4)));
}

#[test]
fn rows_are_invisible_until_their_transaction_commits() {
    let topic = topic("invisible", 2, &[]);
    let domain = domain("invisible", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..100));
    attempt.authority.flush().expect("acknowledged");
    assert_eq!(read_all(&topic).len(), 0);
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("the rows", || sorted(&read_all(&topic)) == (0..100).collect::<Vec<_>>());
}

#[test]
fn rows_behind_a_barrier_belong_to_the_next_transaction_and_keep_their_order() {
    let topic = topic("hold", 1, &[]);
    let domain = domain("hold", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    write(&mut sink, &rows(0..50));
    sink.on_barrier(Epoch(1)).expect("a barrier");
    write(&mut sink, &rows(50..80));
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("epoch 1", || values(&read_all(&topic)) == (0..50).collect::<Vec<_>>());

    attempt.authority.begin().expect("begun");
    sink.on_released(Epoch(1)).expect("released");
    write(&mut sink, &rows(80..100));
    sink.on_barrier(Epoch(2)).expect("a barrier");
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(2, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("epoch 2", || values(&read_all(&topic)) == (0..100).collect::<Vec<_>>());
}

#[test]
fn a_full_producer_takes_fewer_rows_and_wakes_its_sink_when_there_is_room() {
    let topic = topic("full", 1, &[]);
    let mut domain = domain("full", &[&topic]);
    domain.cluster.options.insert("queue.buffering.max.messages".into(), "100".into());
    domain.cluster.options.insert("linger.ms".into(), "50".into());
    let mut attempt = start(&domain, "n1");
    let (waker, woken) = waker();
    let mut sink = KafkaSink::new(Arc::clone(&attempt.producer), &topic, 1 << 20, 64 << 20, waker).expect("a sink");
    attempt.authority.begin().expect("begun");
    let rows = rows(0..1_000);
    let mut from = 0;
    while from < rows.len() {
        let taken = sink.write(&rows, from..rows.len()).expect("writable");
        from += taken;
        if from < rows.len() {
            assert!(taken <= 100, "{taken}");
            woken.recv_timeout(PATIENCE).expect("woken");
        }
    }
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("all rows", || values(&read_all(&topic)) == (0..1_000).collect::<Vec<_>>());
}

#[test]
fn a_row_that_the_topic_would_refuse_is_blamed_and_those_before_it_are_taken() {
    let topic = topic("blame", 1, &[("max.message.bytes", "5000")]);
    let domain = domain("blame", &[&topic]);
    let mut attempt = start(&domain, "n1");
    let mut sink = sink(&attempt, &topic);
    attempt.authority.begin().expect("begun");
    let mut rows = rows(0..3);
    rows.times.push(0);
    rows.keys.push(Some(b"k"));
    rows.values.push(Some(&[b'x'; 6_000]));
    // The year 3000: brokers of today refuse what is more than an hour ahead.
    rows.times.push(32_503_680_000_000);
    rows.keys.push(Some(b"k"));
    rows.values.push(Some(b"far"));
    match sink.write(&rows, 0..5) {
        Err(Error::Record { slot: 3, message }) => assert!(message.contains("6001 bytes"), "{message}"),
        other => panic!("{other:?}"),
    }
    match sink.write(&rows, 4..5) {
        Err(Error::Record { slot: 4, message }) => assert!(message.contains("ahead of the clock"), "{message}"),
        other => panic!("{other:?}"),
    }
    attempt.authority.flush().expect("acknowledged");
    attempt.authority.mark(&commit(1, attempt.token)).expect("marked");
    committed(attempt.authority.commit());
    wait_for("the good rows", || values(&read_all(&topic)) == [0, 1, 2]);
}
