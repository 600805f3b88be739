package redact_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/auditail/auditail/internal/redact"
)

const patience = time.Minute

func detectors(t testing.TB, own ...redact.Pattern) *redact.Detectors {
	t.Helper()
	d, err := redact.New(own, patience)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// marked shows what was found: each find as <TYPE:text>.
func marked(text string, spans []redact.Span) string {
	var b strings.Builder
	at := 0
	for _, s := range spans {
		fmt.Fprintf(&b, "%s<%s:%s>", text[at:s.Start], s.Type, text[s.Start:s.End])
		at = s.End
	}
	return b.String() + text[at:]
}

func find(t testing.TB, d *redact.Detectors, text string) []redact.Span {
	t.Helper()
	spans, err := d.Find(nil, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, s := range spans {
		if s.Start < at || s.End <= s.Start || s.End > len(text) || s.Type == "" {
			t.Fatalf("spans %v of %q", spans, text)
		}
		at = s.End
	}
	return spans
}

// Keys are put together here, so that no scanner takes this file for a leak.
func join(parts ...string) string { return strings.Join(parts, "") }

var alnum40 = strings.Repeat("aB3dE", 8)

// jwt is the example of RFC 7519, section 3.1.
var jwt = join("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", ".",
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ", ".",
	"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")

var pem = join("-----BEGIN RSA ", "PRIVATE KEY-----\n", strings.Repeat(alnum40+alnum40[:24]+"\n", 3), "-----END RSA ", "PRIVATE KEY-----")

// secrets are texts that are secrets as a whole.
func secrets() map[string][]string {
	return map[string][]string{
		redact.Key: {
			join("sk-", "test-alice"), join("sk-", "test-bob"), join("sk-", "1234"), join("sk-proj-", alnum40), join("sk-ant-api03-", alnum40, "-AA"),
			join("AK", "IAIOSFODNN7EXAMPLE"), join("AS", "IAIOSFODNN7EXAMPLE"),
			join("gh", "p_", alnum40[:36]), join("gho_", alnum40[:36]), join("ghs_", alnum40[:36]), join("github_", "pat_", alnum40, "_", alnum40),
			join("gl", "pat-", alnum40[:20]), join("xox", "b-2345678901-", alnum40), join("xapp-", "1-A02-", alnum40), join("AI", "za", alnum40[:35]),
			join("ya29.", alnum40), join("hf_", alnum40[:34]), join("gsk_", alnum40), join("r8_", alnum40), join("npm_", alnum40[:36]),
			join("pypi-", alnum40), join("nvapi-", alnum40), join("sk_live_", alnum40), join("whsec_", alnum40), join("dop_v1_", alnum40),
			join("SG.", alnum40[:22], ".", alnum40), join("hvs.", alnum40), join("AGE-SECRET-", "KEY-1", strings.ToUpper(alnum40)),
			join("shpat_", alnum40), join("tvly-", alnum40), join("dapi", strings.ToLower(alnum40)), join("xai-", alnum40), join("csk-", alnum40),
			join("hooks.slack.com/", "services/T00000000/B00000000/", alnum40[:24]), join("ABSK", alnum40, alnum40),
		},
		redact.JWT: {jwt, jwt[:strings.LastIndexByte(jwt, '.')]},
		redact.PEM: {pem, strings.ReplaceAll(pem, "\n", `\n`), pem[:200], strings.ReplaceAll(pem, "RSA ", "OPENSSH ")},
	}
}

func TestSecrets(t *testing.T) {
	for kind, list := range secrets() {
		for _, secret := range list {
			for _, frame := range []string{"%s", "a %s b", "key=%s&x", `{"k":"%s","b":1}`, "/v1/keys/%s", "é%s", "(%s)", "user_%s"} {
				if kind == redact.PEM && !strings.HasSuffix(secret, "-----") && !strings.HasPrefix(frame, "{") {
					continue // where a key that is cut off ends, nobody knows
				}
				for shift := range 4 { // wherever it stands in a word of memory
					before, after, _ := strings.Cut(strings.Repeat("·", shift)+frame, "%s")
					text := before + secret + after
					want := before + "<" + kind + ":" + secret + ">" + after
					if got := marked(text, redact.Secrets(nil, []byte(text))); got != want {
						t.Errorf("got %s, want %s", got, want)
					}
					if !redact.Suspect([]byte("alice" + secret + "alice")) {
						t.Errorf("%s is not suspect", secret)
					}
				}
			}
		}
	}
}

func TestScrub(t *testing.T) {
	for text, want := range map[string]string{
		"a " + join("sk-", "test-alice") + " b " + jwt: "a [KEY] b [JWT]",
		"nothing": "nothing",
		"":        "",
	} {
		if got, found := redact.Scrub([]byte(text)); string(got) != want || found != (text != want) {
			t.Errorf("got %s, %t, want %s", got, found, want)
		}
	}
}

func TestInContext(t *testing.T) {
	basic := "dXNlcjpwYXNzd29yZA==" // user:password
	for text, want := range map[string]string{
		"Authorization: Bearer abcdef0123456789":                        "Authorization: Bearer <KEY:abcdef0123456789>",
		"authorization: bearer a.b-c_d~e+f/g==":                         "authorization: bearer <KEY:a.b-c_d~e+f/g==>",
		"Bearer authentication is needed":                               "",
		"the bearer tokens. Then":                                       "",
		"Basic " + basic:                                                "Basic <PASSWORD:" + basic + ">",
		"basic training and Basic authentication":                       "",
		"https://user:hunter2@example.com/x":                            "https://user:<PASSWORD:hunter2>@example.com/x",
		"postgres://svc:p%40ss@db:5432/x":                               "postgres://svc:<PASSWORD:p%40ss>@db:5432/x",
		"https://example.com:8080/@user and http://example.com/a:b@c":   "",
		`{"password":"hunter2"}`:                                        `{"password":"<PASSWORD:hunter2>"}`,
		`{\"api_key\": \"abc12345\"}`:                                   `{\"api_key\": \"<KEY:abc12345>\"}`,
		"x-api-key: 0123456789abcdef":                                   "x-api-key: <KEY:0123456789abcdef>",
		"db_password=correcthorse":                                      "db_password=<PASSWORD:correcthorse>",
		"password: the one you chose":                                   "",
		"api_key=os.environ":                                            "",
		"password=********, password=xxxxxxxx":                          "",
		"AccountKey=" + alnum40 + "==;Endpoint":                         "AccountKey=<KEY:" + alnum40 + "==>;Endpoint",
		"task-force disk-usage sk-learn sk-SK risk-free ask_something1": "",
		"they keyJoin heyJude AIzaak hf_ghost ghp_short":                "",
		"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----":   "",
		"What does -----BEGIN RSA " + "PRIVATE KEY----- mean?":          "",
		"-----BEGIN -----BEGIN -----BEGIN ":                             "",
		"AKIA AKIAexample makia":                                        "",
		"eyJ.eyJ.eyJ eyJhbGciOiJIUzI1NiJ9.":                             "",
		"://:@ http://:x@ h://a:@b":                                     "http://:<PASSWORD:x>@", // and nothing else
		"":                                                              "",
		"s":                                                             "",
		"sk":                                                            "",
		"sk-":                                                           "",
	} {
		if want == "" {
			want = text
		}
		if text == "://:@ http://:x@ h://a:@b" {
			want = "://:@ http://:<PASSWORD:x>@ h://a:@b"
		}
		if got := marked(text, redact.Secrets(nil, []byte(text))); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestPersonalData(t *testing.T) {
	d := detectors(t)
	for _, want := range []string{
		"write to <MAIL:alice@example.com>, or <MAIL:Bob.Smith+x@mail.example.co.uk>.",
		"<MAIL:jörg@müller.de>; (<MAIL:a@b.io>) \"<MAIL:o'neil@example.com>\" <MAIL:алиса@пример.рф>",
		"联系<MAIL:alice@example.com>谢谢",
		"a@b, @alice, alice@, alice@example, 3@4.5, @@@@, x@@example.com",
		"to <IBAN:DE89370400440532013000> or <IBAN:DE89 3704 0044 0532 0130 00> BIC COBADEFF, <IBAN:GB82-WEST-1234-5698-7654-32>",
		"<IBAN:gb82west12345698765432>, <IBAN:NO9386011117947>, <IBAN:FR14 2004 1010 0505 0001 3M02 606>",
		"DE89370400440532013001 and DE8937040044053201300 and XX89370400440532013000 and DE893704004405320130001",
		"<CARD:4111111111111111> <CARD:4111 1111 1111 1111> <CARD:5500-0000-0000-0004> <CARD:378282246310005> <CARD:3782 822463 10005>",
		"<CARD:6011000990139424>. <CARD:30569309025904>, <CARD:4222222222222> <CARD:2223003122003222>!",
		"4111111111111112 and 1111111111111117 and 41111111111111110 and 3.4111111111111111 and x4111111111111111",
		"order 1234 <CARD:4111 1111 1111 1111>",
		"SSN <SSN:219-09-9999>, <SSN:219 09 9999>; not 000-12-3456, 666-12-3456, 900-12-3456, 219-00-9999, 219-09-0000, 219-09-99991, 219-09 9999",
		"from <IP:10.20.0.14>:41022, <IP:192.168.1.1>. <IP:255.255.255.255> not 256.1.1.1, 1.2.3, 1.2.3.4.5, v1.2.3.4",
		"<IP:2001:db8::8a2e:370:7334>, [<IP:fe80::1>]:80 <IP:::1> <IP:::ffff:10.0.0.1> <IP:2001:0db8:85a3:0000:0000:8a2e:0370:7334>.",
		"std::find(a::b), 12:34:56, dead::beef, 01:23:45:67:89:ab, ::, a:b",
		"<PHONE:+49 171 1234567>, <PHONE:+1 (415) 555-2671>, <PHONE:+4915112345678>, <PHONE:0049 171 1234567>, <PHONE:+44 20 7946 0958>",
		"<PHONE:0171 1234567>, <PHONE:030/1234567>, <PHONE:(030) 123 45 67>, <PHONE:01 23 45 67 89>, <PHONE:03-1234-5678>, <PHONE:01711234567>",
		"<PHONE:(415) 555-2671>, <PHONE:415-555-2671>, <PHONE:415.555.2671>, <PHONE:1-415-555-2671>, (<PHONE:415-555-2671>)",
		"电话<PHONE:0171 1234567>。",
		"2026-11-21 09:06:34, 21.11.2026 10:20, 01-02-2026 10:20, 01/02/2026, 01.02.2026 12, +0100, 1711234567, 00-0af76519, 007, +1",
		"1763712394, 1763712394123, 1763712394123456, 1763712394123456789, 123e4567-e89b-12d3-a456-426614174000, 0x1f4, 3.14159265358979",
		"total 1,234,567.89 EUR; 100 200 300 400; pi 3.141 592 653; 12 345 6789; 555-0123",
		"chatcmpl-5d59579f6d27aa026c681106d9077aaf hex 4bf92f3577b34da6a3ce929d0e0e4736",
	} {
		text := regexp.MustCompile(`<[A-Z]+:((?:[^<>])*)>`).ReplaceAllString(want, "$1")
		if got := marked(text, find(t, d, text)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// Personal data are not secrets: in the fields of a record they say who it was.
func TestPersonalDataAreNoSecrets(t *testing.T) {
	text := "alice@example.com DE89370400440532013000 4111111111111111 219-09-9999 10.0.0.1 +49 171 1234567"
	if spans := redact.Secrets(nil, []byte(text)); len(spans) > 0 {
		t.Error(marked(text, spans))
	}
}

func TestOwnPatterns(t *testing.T) {
	d := detectors(t,
		redact.Pattern{Name: "STAFF", Regex: regexp.MustCompile(`\bE-\d{6}\b`)},
		redact.Pattern{Name: "CASE", Regex: regexp.MustCompile(`(?i)case no\. (\d+)`)},
		redact.Pattern{Name: "NUMBER", Regex: regexp.MustCompile(`\b\d{9}\b`), Check: redact.Luhn},
		redact.Pattern{Name: "REF", Regex: regexp.MustCompile(`\bRF\d{2}[0-9A-Z]{1,21}\b`), Check: redact.Mod97})
	for _, want := range []string{
		"<STAFF:E-123456> and E-1234567",
		"see Case No. <CASE:4711>",
		"<NUMBER:123456782> 123456789", // the first has its check digit
		"<REF:RF18539007547034> RF18539007547035",
	} {
		text := regexp.MustCompile(`<[A-Z]+:([^<>]*)>`).ReplaceAllString(want, "$1")
		if got := marked(text, find(t, d, text)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for name, bad := range map[string]redact.Pattern{
		"empty match":   {Name: "A", Regex: regexp.MustCompile(`x*`)},
		"unknown check": {Name: "A", Regex: regexp.MustCompile(`x`), Check: "crc"},
	} {
		if _, err := redact.New([]redact.Pattern{bad}, patience); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// Where finds overlap, nothing of either stays.
func TestOverlaps(t *testing.T) {
	d := detectors(t, redact.Pattern{Name: "OWN", Regex: regexp.MustCompile(`com and \w+`)})
	text := "alice@example.com and bob"
	if got := marked(text, find(t, d, text)); got != "<MAIL:alice@example.com and bob>" {
		t.Error(got)
	}
}

// Whoever writes the text must not decide how long it takes, or how much memory.
func TestGivesUp(t *testing.T) {
	text := bytes.Repeat([]byte("a@b.io "), 100_000)
	if spans, err := detectors(t).Find(nil, text); !errors.Is(err, redact.ErrTooMany) || len(spans) > 0 {
		t.Errorf("%d spans, %v", len(spans), err)
	}
	d, err := redact.New(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if spans, err := d.Find(nil, []byte("alice@example.com")); !errors.Is(err, redact.ErrTooSlow) || len(spans) > 0 {
		t.Errorf("%d spans, %v", len(spans), err)
	}
	broken := detectors(t, redact.Pattern{Name: "A", Regex: regexp.MustCompile("x")})
	redact.Break(broken)
	if spans, err := broken.Find(nil, []byte("alice@example.com")); !errors.Is(err, redact.ErrPanic) || len(spans) > 0 {
		t.Errorf("%d spans, %v", len(spans), err)
	}
}

// hostile are texts that are one candidate after the other.
func hostile() map[string]string {
	list := map[string]string{}
	for _, unit := range []string{
		"@", "a@", "a.@", "1", "1 ", "1-", "4", "41", "4111 ", "0", "+", "+1", "(", "+1 (", ":", "::", "a:", "1.", "1.2", "sk-", "sk-a ", "eyJ", "eyJ.", "eyJa.",
		"-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----", "://", "://:", "://:@", "password=", "password", "Bearer ", "Bearer a1", "Basic ", "DE89", "DE89 ", "\xff", "é",
		"ghp_", "xoxb-", "AIza", "api_key: ", `\"api_key\": \"`, " ", "a",
	} {
		list[unit] = strings.Repeat(unit, (256<<10)/len(unit))
	}
	return list
}

// Time is linear: a text of 256 KiB takes well under a second whatever it is.
// (The race detector and a busy machine take their share of the bound.)
func TestLinear(t *testing.T) {
	d := detectors(t)
	for unit, text := range hostile() {
		began := time.Now()
		_, err := d.Find(nil, []byte(text))
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%q: %s, %v", unit, took, err)
		}
	}
}

// No secret survives in what is left when the finds are taken out, and what is
// put in their place makes no new ones.
func FuzzFind(f *testing.F) {
	for _, list := range secrets() {
		for _, secret := range list {
			f.Add("a " + secret + " b")
		}
	}
	for unit := range hostile() {
		f.Add(strings.Repeat(unit, 9))
	}
	d, err := redact.New([]redact.Pattern{{Name: "OWN", Regex: regexp.MustCompile(`E-\d{3}`)}}, patience)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		spans := find(t, d, text)
		secret := redact.Secrets(nil, []byte(text))
		for _, joined := range []string{text, "alice" + text + "alice", "0=" + text + "/_-.:=\"@"} {
			if len(secret) > 0 && !redact.Suspect([]byte(joined)) {
				t.Errorf("%q holds secrets, and is not suspect as a part of %q", text, joined)
			}
		}
		for _, s := range secret {
			covered := false
			for _, o := range spans {
				covered = covered || o.Start <= s.Start && s.End <= o.End
			}
			if !covered {
				t.Errorf("%v of %q is not among %v", s, text, spans)
			}
		}
	})
}

func corpus(b *testing.B) []byte {
	b.Helper()
	names, err := filepath.Glob("../../*/*.md")
	if err != nil || len(names) == 0 {
		b.Fatal(names, err)
	}
	var all []byte
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, data...)
	}
	return all[:min(len(all), 64<<10)]
}

// BenchmarkFind measures the detectors on text of a kind.
func BenchmarkFind(b *testing.B) {
	prose := bytes.Repeat([]byte("Summarise the termination clause of the contract and list what either side owes to the other. "), 700)
	numbers := bytes.Repeat([]byte("17.31,8.250,2026-11-21 09:06:34,42,100000\n"), 1500)
	personal := bytes.Repeat([]byte("Please wire it to DE89 3704 0044 0532 0130 00 and write to alice@example.com or call +49 171 1234567 when it is done, thank you. "), 500)
	d := detectors(b)
	for _, c := range []struct {
		name string
		text []byte
	}{{"prose", prose}, {"markdown", corpus(b)}, {"numbers", numbers}, {"personal", personal}} {
		b.Run("all/"+c.name, func(b *testing.B) {
			var spans []redact.Span
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				spans, _ = d.Find(spans[:0], c.text)
			}
		})
		b.Run("secrets/"+c.name, func(b *testing.B) {
			var spans []redact.Span
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				spans = redact.Secrets(spans[:0], c.text)
			}
		})
	}
}
