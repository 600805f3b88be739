package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// form is a way in which a secret is written. Where literal stands in a text,
// how says whether a secret is there.
type form struct {
	literal string
	// mark is the index, in literal, of the three bytes that a scan looks for:
	// those that are rare in other text.
	mark int
	how  how
	kind string

	// Of keys with a prefix: what must follow it.
	body class
	min  int
}

// how says what a secret looks like around its literal.
type how uint8

const (
	prefixed how = iota
	sk
	jwt
	pem
	authBearer
	authBasic
	userInfo
	assigned
)

// find says whether a secret is where the form's literal stands.
func (s *scan) find(f *form, at int) (start, end int, ok bool) {
	switch f.how { // a switch and no func: s stays on the stack
	case prefixed:
		return s.findKey(f, at)
	case sk:
		return s.findSK(at)
	case jwt:
		return s.findJWT(at)
	case pem:
		return s.findPEM(f, at)
	case authBearer:
		return s.findBearer(f, at)
	case authBasic:
		return s.findBasic(f, at)
	case userInfo:
		return s.findUserInfo(at)
	default:
		return s.findAssigned(f, at)
	}
}

// class is a set of bytes that tokens are made of.
type class uint8

const (
	alnum      class = 1 << iota
	upperDigit       // A–Z, 0–9
	token            // base64url (RFC 4648, section 5)
	dotToken         // the same with dots
	base64Any        // base64 and base64url with padding
	bearer           // RFC 6750, section 2.1
	urlPath
	classes = 7
)

// classOf holds the classes of each byte.
var classOf = func() (table [256]class) {
	for i := range table {
		c := byte(i)
		if isAlnum(c) {
			table[i] |= alnum | token | dotToken | base64Any | bearer | urlPath
		}
		if isUpper(c) || isDigit(c) {
			table[i] |= upperDigit
		}
	}
	for in, signs := range map[class]string{token: "-_", dotToken: "-_.", base64Any: "-_+/=", bearer: "-_.~+/=", urlPath: "-_/"} {
		for _, c := range []byte(signs) {
			table[c] |= in
		}
	}
	return table
}()

// scan is one pass over a text. It remembers the last run of each class, so that
// a text of one long run full of prefixes is still read once.
type scan struct {
	text   []byte
	runs   [classes]struct{ start, end int }
	joined bool // the text is pieces joined without anything between them
}

// freeBefore tells that a secret may begin at i.
func (s *scan) freeBefore(i int) bool { return s.joined || freeBefore(s.text, i) }

// run returns the end of the bytes of a class from i on.
func (s *scan) run(i int, c class) int {
	last := &s.runs[bits.TrailingZeros8(uint8(c))]
	if i >= last.start && i < last.end {
		return last.end
	}
	end := i
	for end < len(s.text) && classOf[s.text[end]]&c != 0 {
		end++
	}
	last.start, last.end = i, end
	return end
}

// forms are the secrets that are known. The prefixes are those that the makers
// document so that scanners can find them.
var forms = func() (list []form) {
	key := func(min int, body class, prefixes ...string) {
		for _, p := range prefixes {
			list = append(list, form{literal: p, kind: Key, how: prefixed, min: min, body: body})
		}
	}
	other := func(kind string, how how, literals ...string) {
		for _, l := range literals {
			list = append(list, form{literal: l, kind: kind, how: how})
		}
	}
	key(20, token, "sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_") // Stripe
	key(32, alnum, "sk_")                                                    // ElevenLabs
	key(16, upperDigit, "AKIA", "ASIA")                                      // AWS
	key(40, base64Any, "ABSK")                                               // Amazon Bedrock
	key(20, base64Any, "bedrock-api-key-")
	key(20, alnum, "ghp_", "gho_", "ghu_", "ghs_", "ghr_")
	key(20, token, "github_pat_")
	key(16, dotToken, "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-", "gloas-") // GitLab
	key(10, token, "xoxa-", "xoxb-", "xoxc-", "xoxd-", "xoxe-", "xoxe.", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xapp-")
	key(24, token, "AIza", "GOCSPX-") // Google
	key(20, dotToken, "ya29.")
	key(10, alnum, "hf_") // Hugging Face
	key(16, token, "gsk_", "glsa_", "glc_", "xai-", "pplx-", "nvapi-", "tvly-", "csk-", "fw_", "rpa_", "pcsk_", "lsv2_", "sbp_", "sntrys_", "figd_", "lin_api_", "dckr_pat_", "tskey-", "PMAK-", "ATATT3", "sq0atp-", "sq0csp-")
	key(20, alnum, "r8_", "npm_", "dapi", "LTAI")
	key(20, token, "pypi-", "dop_v1_", "doo_v1_", "dor_v1_", "shpat_", "shpca_", "shppa_", "shpss_")
	key(20, dotToken, "SG.", "hvs.", "hvb.")
	key(20, upperDigit, "AGE-SECRET-KEY-1", "AGE-SECRET-KEY-PQ-1")
	key(20, urlPath, "hooks.slack.com/services/")
	other(Key, sk, "sk-")
	other(JWT, jwt, "eyJ")
	other(PEM, pem, "-----BEGIN ")
	other(Key, authBearer, "Bearer ", "bearer ", "BEARER ", "Bearer%20")
	other(Password, authBasic, "Basic ", "basic ", "BASIC ")
	other(Password, userInfo, "://")
	other(Password, assigned, "password", "Password", "PASSWORD", "passwd", "PASSWD")
	other(Key, assigned, "api_key", "api-key", "apikey", "apiKey", "Api-Key", "API-Key", "API_KEY", "APIKEY",
		"secret_key", "SECRET_KEY", "secretKey", "client_secret", "CLIENT_SECRET", "access_token", "ACCESS_TOKEN", "accessToken",
		"auth_token", "AUTH_TOKEN", "refresh_token", "AccountKey", "SharedAccessKey")
	setMarks(list)
	return list
}()

// setMarks chooses the mark of each form: of all triples of its literal the one
// whose pairs are rarest in other text, those counting nothing that earlier
// forms have chosen already.
func setMarks(list []form) {
	chosen := map[[2]byte]bool{}
	for i := range list {
		literal, best := list[i].literal, 1<<30
		for at := 0; at+3 <= len(literal); at++ {
			a, b := [2]byte{literal[at], literal[at+1]}, [2]byte{literal[at+1], literal[at+2]}
			cost := 0
			for _, pair := range [...][2]byte{a, b} {
				if !chosen[pair] {
					cost += frequency(pair[0]) * frequency(pair[1])
				}
			}
			if cost < best {
				best, list[i].mark = cost, at
			}
		}
		mark := literal[list[i].mark:]
		chosen[[2]byte{mark[0], mark[1]}], chosen[[2]byte{mark[1], mark[2]}] = true, true
	}
}

// frequency says roughly how often a byte stands in text and logs, in thousandths.
func frequency(c byte) int {
	switch {
	case isLower(c):
		const letters = "zqjxkvbywgpfmucdlhrsnioate" // rarest first
		return 1 + 4*bytes.IndexByte([]byte(letters), c)
	case isUpper(c):
		return 6
	case isDigit(c):
		return 30
	case c == ' ':
		return 150
	case c == '-', c == '.', c == '/', c == '_':
		return 20
	default:
		return 8
	}
}

// index finds where one of the forms' literals stands.
//
// It looks at every second pair of bytes: whichever way three bytes lie, one of
// their two pairs is looked at. pairs tells which pairs are part of some form's
// mark; almost all text ends there. marks leads from a hash of three bytes to
// the first form with that mark, counted from 1, and next to further ones.
type index struct {
	pairs [1 << 16]bool
	marks [1 << 12]uint8
	next  []uint8
}

var known = newIndex(forms)

func newIndex(forms []form) *index {
	x := &index{next: make([]uint8, len(forms)+1)}
	for i := range forms {
		mark := forms[i].literal[forms[i].mark:]
		x.pairs[uint16(mark[0])|uint16(mark[1])<<8] = true
		x.pairs[uint16(mark[1])|uint16(mark[2])<<8] = true
		h := hash3(mark[0], mark[1], mark[2])
		x.next[i+1], x.marks[h] = x.marks[h], uint8(i+1)
	}
	return x
}

func hash3(a, b, c byte) uint32 {
	return (uint32(a) | uint32(b)<<8 | uint32(c)<<16) * 0x9e3779b1 >> 20
}

// appendSecrets appends the secrets in text in the order in which their marks
// stand.
func appendSecrets(dst []Span, text []byte) []Span {
	s := scan{text: text}
	return known.secrets(dst, &s)
}

// Suspect tells whether one of several texts, joined without anything between
// them, may hold a secret. It is for sorting out the many that do not: it may
// err, but misses none that Secrets finds in one of the texts. It does not
// allocate unless it finds something.
func Suspect(joined []byte) bool {
	s := scan{text: joined, joined: true}
	return len(known.secrets(nil, &s)) > 0
}

func (x *index) secrets(dst []Span, s *scan) []Span {
	text, i := s.text, 0
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:])
		if !x.pairs[uint16(w)] && !x.pairs[uint16(w>>16)] && !x.pairs[uint16(w>>32)] && !x.pairs[uint16(w>>48)] {
			continue
		}
		for j := range 4 {
			if x.pairs[uint16(w>>(16*j))] {
				dst = x.look(dst, s, i+2*j)
			}
		}
	}
	for ; i+2 <= len(text); i += 2 {
		if x.pairs[uint16(text[i])|uint16(text[i+1])<<8] {
			dst = x.look(dst, s, i)
		}
	}
	return dst
}

// look appends the secrets whose mark has the pair at i.
func (x *index) look(dst []Span, s *scan, i int) []Span {
	text := s.text
	for at := max(0, i-1); at <= i && at+3 <= len(text); at++ {
		for n := x.marks[hash3(text[at], text[at+1], text[at+2])]; n != 0; n = x.next[n] {
			f := &forms[n-1]
			from := at - f.mark
			if from < 0 || len(text)-from < len(f.literal) || string(text[from:from+len(f.literal)]) != f.literal {
				continue
			}
			if start, end, ok := s.find(f, from); ok {
				dst = add(dst, Span{Start: start, End: end, Type: f.kind})
			}
		}
	}
	return dst
}

// add appends a span, or makes the last one longer where it runs into it.
func add(dst []Span, s Span) []Span {
	if n := len(dst); n > 0 && s.Start >= dst[n-1].Start && s.Start < dst[n-1].End {
		dst[n-1].End = max(dst[n-1].End, s.End)
		return dst
	}
	return append(dst, s)
}

// run returns the end of the bytes from i on that accept takes.
func run(text []byte, i int, accept func(byte) bool) int {
	for i < len(text) && accept(text[i]) {
		i++
	}
	return i
}

// findKey finds a key: its prefix at a word's beginning, then enough of its body.
func (s *scan) findKey(f *form, at int) (start, end int, ok bool) {
	body := at + len(f.literal)
	end = s.run(body, f.body)
	return at, end, end-body >= f.min && s.freeBefore(at)
}

// findSK finds the many keys that begin with "sk-" (OpenAI, Anthropic, LiteLLM,
// OpenRouter, DeepSeek …). They have no common length, and examples are short;
// words such as "sk-learn" and the locale "sk-SK" are none.
func (s *scan) findSK(at int) (start, end int, ok bool) {
	body := at + len("sk-")
	end = s.run(body, token)
	n := end - body
	return at, end, s.freeBefore(at) && (n >= 8 || n >= 4 && hasDigit(s.text[body:end]))
}

func hasDigit(text []byte) bool { return slices.ContainsFunc(text, isDigit) }

// findJWT finds header and payload of a token, with or without what follows
// (RFC 7515 has one more part, RFC 7516 three).
func (s *scan) findJWT(at int) (start, end int, ok bool) {
	text := s.text
	end = s.run(at, token)
	if !s.freeBefore(at) || end-at < 10 || end+9 > len(text) || text[end] != '.' {
		return 0, 0, false
	}
	payload := end + 1
	if end = s.run(payload, token); end-payload < 8 {
		return 0, 0, false
	}
	return at, s.run(end, dotToken), true
}

// findPEM finds a private key from its first line to its last. Of a key that is
// cut off it finds what has the form of one.
func (s *scan) findPEM(f *form, at int) (start, end int, ok bool) {
	text := s.text
	body, ok := label(text, at+len(f.literal))
	if !ok || !bytes.Contains(text[at:body], []byte("PRIVATE KEY")) {
		return 0, 0, false
	}
	end = min(len(text), body+maxPEM)
	if i := bytes.Index(text[body:end], []byte(dashes)); i >= 0 {
		end = body + i
	}
	stop := run(text[:end], body, isPEM)
	if last := end + len(dashes+"END "); stop == end && last <= len(text) && string(text[end:last]) == dashes+"END " {
		if end, ok := label(text, last); ok {
			return at, end, true
		}
	}
	for i := body; i < stop; i++ { // a line of a key has 64 characters
		word := run(text[:stop], i, func(c byte) bool { return classOf[c]&base64Any != 0 })
		if word-i >= 16 {
			return at, stop, true
		}
		i = word
	}
	return 0, 0, false
}

const dashes = "-----"

// label returns the index behind the label at i and the dashes that close it.
func label(text []byte, i int) (end int, ok bool) {
	end = run(text[:min(len(text), i+64)], i, func(c byte) bool { return isUpper(c) || isDigit(c) || c == ' ' })
	return end + len(dashes), bytes.HasPrefix(text[end:], []byte(dashes))
}

// maxPEM is more than the longest key in use has (RSA with 16,384 bits).
const maxPEM = 16 << 10

// isPEM accepts what stands between the first and the last line: base64, headers
// of old encrypted keys, and line ends, also as a string of JSON writes them. A
// quote is not among them: what stands in a string of JSON ends in it.
func isPEM(c byte) bool {
	return classOf[c]&base64Any != 0 || bytes.IndexByte([]byte(" \n\r\t\\:,.()"), c) >= 0
}

// findBearer finds the token behind "Bearer ". "Bearer authentication" is none:
// what is one has a digit or a sign in it, or is long.
func (s *scan) findBearer(f *form, at int) (start, end int, ok bool) {
	text := s.text
	start = at + len(f.literal)
	end = s.run(start, bearer)
	for end > start && (text[end-1] == '.' || text[end-1] == '/') { // the end of a sentence
		end--
	}
	value := text[start:end]
	letters := run(value, 0, func(c byte) bool { return isLower(c | 0x20) })
	return start, end, len(value) >= 6 && (letters < len(value) || len(value) >= 24) && s.freeBefore(at)
}

// findBasic finds user and password of basic authentication (RFC 7617): base64
// of something with a colon in it.
func (s *scan) findBasic(f *form, at int) (start, end int, ok bool) {
	text := s.text
	start = at + len(f.literal)
	end = s.run(start, base64Any)
	encoded := text[start:min(end, start+1024)]
	if i := bytes.IndexByte(encoded, '='); i >= 0 {
		encoded = encoded[:i]
	}
	if len(encoded) < 6 || !s.freeBefore(at) {
		return 0, 0, false
	}
	var decoded [768]byte
	n, err := base64.StdEncoding.Decode(decoded[:], encoded[:len(encoded)/4*4])
	colon := bytes.IndexByte(decoded[:n], ':')
	return start, end, (err == nil || s.joined) && colon >= 0 && utf8.Valid(decoded[:colon])
}

// findUserInfo finds the password in scheme://user:password@host.
func (s *scan) findUserInfo(at int) (start, end int, ok bool) {
	text := s.text
	from := at + len("://")
	to := from
	for limit := min(len(text), from+512); to < limit && !endsAuthority(text[to]); {
		to++
	}
	sign := bytes.LastIndexByte(text[from:to], '@')
	if sign < 0 {
		return 0, 0, false
	}
	colon := bytes.IndexByte(text[from:from+sign], ':')
	if colon < 0 || colon+1 == sign || at == 0 || !isAlnum(text[at-1]) {
		return 0, 0, false
	}
	return from + colon + 1, from + sign, true
}

func endsAuthority(c byte) bool {
	switch c {
	case '/', '?', '#', '"', '\'', '<', '>', '\\', '`':
		return true
	default:
		return c <= ' '
	}
}

// findAssigned finds the value in password=value, "api_key": "value" and the like.
func (s *scan) findAssigned(f *form, at int) (start, end int, ok bool) {
	text := s.text
	i := at + len(f.literal)
	i = skip(text, i, 3, `"'\ `)
	if i >= len(text) || text[i] != '=' && text[i] != ':' {
		return 0, 0, false
	}
	start = skip(text, i+1, 4, `"'\ `)
	end = start
	for limit := min(len(text), start+maxValue); end < limit && !endsValue(text[end]); {
		end++
	}
	value := text[start:end]
	letters := run(value, 0, func(c byte) bool { return isLower(c|0x20) || c == '_' || c == '.' })
	switch {
	case len(value) < 6, letters == len(value) && (f.kind != Password || text[i] == ':'):
		return 0, 0, false // a word of a sentence or of a program
	case run(value, 0, func(c byte) bool { return c == '*' || c|0x20 == 'x' }) == len(value):
		return 0, 0, false // masked already
	}
	return start, end, f.kind == Password || hasDigit(value)
}

// maxValue bounds an assigned value: longer secrets have a form of their own.
const maxValue = 4 << 10

// skip returns the index behind at most n of the given signs.
func skip(text []byte, i, n int, signs string) int {
	for ; n > 0 && i < len(text) && bytes.IndexByte([]byte(signs), text[i]) >= 0; n-- {
		i++
	}
	return i
}

func endsValue(c byte) bool {
	switch c {
	case '"', '\'', '\\', ',', ';', '&', '<', '>', '(', ')', '[', ']', '{', '}', '`':
		return true
	default:
		return c <= ' '
	}
}
