//! What templates give, pinned, and what is said about those that do not compile.

use super::*;

fn render(text: &str, seed: u64, position: u64) -> String {
    let template = Template::compile(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut out = Vec::new();
    template.render(seed, position, &mut out);
    String::from_utf8(out).expect("templates here are text")
}

#[test]
fn what_a_seed_and_a_position_give_never_changes() {
    let text = r#"{"ts":{{time 1700000000000 10 8000 20}},"ip":"10.0.0.{{zipf 50}}","n":{{int -5 5}},"a":"{{ip 100000}}","m":"{{pick GET|POST|PUT}}","x":"{{hex 20}}","s":{{seq 5 -2}}}"#;
    let lines: Vec<String> = [(0, 0), (0, 1), (7, 0), (7, 199_999)].iter().map(|(s, p)| render(text, *s, *p)).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn time_goes_in_steps_and_steps_may_be_fractions() {
    assert_eq!(render("{{time 1000 10}}", 1, 3), "1030");
    assert_eq!(render("{{time 1000 0.05}}", 1, 39), "1001");
    assert_eq!(render("{{time 1000 0.05}}", 1, 40), "1002");
    assert_eq!(render("{{time 0 -1.5}}", 1, 1), "-2");
    assert_eq!(render("{{time 9223372036854775807 10}}", 1, 3), "9223372036854775807");
}

#[test]
fn jitter_makes_times_earlier_within_the_bound_for_the_share_given() {
    let template = Template::compile("{{time 1000000 10 500 25}}").expect("compiles");
    let (mut late, mut largest) = (0, 0);
    for position in 0..10_000 {
        let mut out = Vec::new();
        template.render(3, position, &mut out);
        let time: i64 = std::str::from_utf8(&out).expect("digits").parse().expect("a number");
        let delay = 1_000_000 + position as i64 * 10 - time;
        assert!((0..=500).contains(&delay), "{delay}");
        late += i64::from(delay > 0);
        largest = largest.max(delay);
    }
    assert!((2_300..2_700).contains(&late), "{late}");
    assert!(largest > 490, "{largest}");
}

#[test]
fn zipf_gives_every_number_and_the_first_most_often() {
    let template = Template::compile("{{zipf 50}}").expect("compiles");
    let mut counts = [0u32; 51];
    for position in 0..100_000 {
        let mut out = Vec::new();
        template.render(7, position, &mut out);
        counts[std::str::from_utf8(&out).expect("digits").parse::<usize>().expect("a number")] += 1;
    }
    assert_eq!(counts[0], 0);
    assert!(counts[1..].iter().all(|c| *c > 0));
    // The sum of 1/k up to 50 is 4.499: 22,226 of 100,000 for 1, half of that for 2.
    assert!((21_500..23_000).contains(&counts[1]), "{}", counts[1]);
    assert!((10_600..11_600).contains(&counts[2]), "{}", counts[2]);
}

#[test]
fn numbers_stay_within_their_bounds() {
    for position in 0..2_000 {
        let n: i64 = render("{{int -3 3}}", 1, position).parse().expect("a number");
        assert!((-3..=3).contains(&n));
        let n: i64 = render("{{int -9223372036854775808 9223372036854775807}}", 1, position).parse().expect("a number");
        let _ = n;
        assert_eq!(render("{{zipf 1}}", 1, position), "1");
        assert_eq!(render("{{int 4 4}}", 1, position), "4");
        assert!(["GET", "P T"].contains(&render("{{pick GET|P T}}", 1, position).as_str()));
        assert!(render("{{ip 300}}", 1, position).starts_with("10.0."));
    }
}

#[test]
fn braces_of_json_are_text() {
    assert_eq!(render(r#"{"a":{"b":{{seq}}}}"#, 1, 3), r#"{"a":{"b":3}}"#);
    assert_eq!(render("plain", 1, 3), "plain");
    assert_eq!(render("{{ seq 1 }}", 1, 3), "4");
}

#[test]
fn what_does_not_compile_says_where_and_why() {
    let check = |text: &str| {
        let error = Template::compile(text).expect_err(text);
        format!(
            "{text}\n{}{}\n{} ({})\n",
            " ".repeat(error.span.start),
            "^".repeat(error.span.len()),
            error.message,
            error.help
        )
    };
    let bad = [
        "a {{tme 1 2}}",
        "{{}}",
        "x {{seq",
        "{{time 1}}",
        "{{time 1 2 3 4 5 6}}",
        "{{time now 10}}",
        "{{time 0 1e3}}",
        "{{time 0 0.0000000001}}",
        "{{time 0 .5}}",
        "{{int 5 1}}",
        "{{zipf 0}}",
        "{{ip 99999999}}",
        "{{pick }}",
        "{{hex x}}",
    ];
    insta::assert_snapshot!(bad.map(check).join("\n"));
}
