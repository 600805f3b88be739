package redact

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLocal and maxDomain bound an address (RFC 5321, section 4.5.3.1), in bytes
// as generous as UTF-8 wants them.
const maxLocal, maxDomain = 256, 512

// appendMails appends addresses such as alice@example.com, also with letters
// beyond ASCII (RFC 6531).
func appendMails(dst []Span, text []byte) []Span {
	behind := 0 // of the last find or sign
	for at := 0; ; {
		i := bytes.IndexByte(text[at:], '@')
		if i < 0 {
			return dst
		}
		at += i
		start, end := localPart(text, max(behind, at-maxLocal), at), domain(text, at+1)
		at++
		behind = at
		if start < at-1 && end > 0 {
			dst = append(dst, Span{Start: start, End: end, Type: Mail})
			at, behind = end, end
		}
	}
}

// localPart returns where the local part that ends at the sign begins.
func localPart(text []byte, from, sign int) int {
	start := sign
	for start > from {
		r, size := utf8.DecodeLastRune(text[from:start])
		if !isMailRune(r) && !strings.ContainsRune(".%+'!#$&*/=?^{|}~", r) {
			break
		}
		start -= size
	}
	for start < sign && text[start] != '_' && !isAlnum(text[start]) && text[start] < utf8.RuneSelf {
		start++ // a sign in front of the address, such as a bracket or a quote
	}
	return start
}

func isMailRune(r rune) bool {
	if r < utf8.RuneSelf {
		return classOf[byte(r)]&token != 0
	}
	// Scripts with spaces between words: in the others a whole sentence would
	// belong to the address that follows.
	return unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic)
}

// domain returns the end of the domain at i, or 0. It has at least two labels,
// the last of at least two letters.
func domain(text []byte, i int) (end int) {
	limit := min(len(text), i+maxDomain)
	for first := true; ; first = false {
		label, letters := i, 0
		for i < limit {
			r, size := utf8.DecodeRune(text[i:limit])
			if !isMailRune(r) {
				break
			}
			if unicode.IsLetter(r) {
				letters++
			}
			i += size
		}
		if i > label && letters >= 2 && !first {
			end = i // may be the last label
		}
		if i == label || i >= limit || text[i] != '.' {
			return end
		}
		i++
	}
}

// appendNumbers appends IBANs, payment cards, social security numbers, IPv4
// addresses and telephone numbers.
func appendNumbers(dst []Span, text []byte) []Span {
	for i := nextDigit(text, 0); i < len(text); i = nextDigit(text, i) {
		if s, ok := number(text, i); ok {
			dst = append(dst, s)
			i = max(i+1, s.End)
			continue
		}
		i = run(text, i, isDigit)
	}
	return dst
}

// nextDigit returns the index of the first digit from i on, or the text's length.
func nextDigit(text []byte, i int) int {
	const zeros, lows, highs, tens = 0x3030303030303030, 0x7f7f7f7f7f7f7f7f, 0x8080808080808080, 0x7676767676767676
	for ; i+8 <= len(text); i += 8 {
		w := binary.LittleEndian.Uint64(text[i:]) ^ zeros // a digit is now below ten
		if digits := ^((w&lows + tens) | w) & highs; digits != 0 {
			return i + bits.TrailingZeros64(digits)/8
		}
	}
	for i < len(text) && !isDigit(text[i]) {
		i++
	}
	return i
}

// number looks at the digits that begin at i.
func number(text []byte, i int) (Span, bool) {
	word := i
	for word > 0 && i-word <= 2 && isAlnum(text[word-1]) {
		word--
	}
	switch i - word {
	case 2:
		end, ok := iban(text, word)
		return Span{Start: word, End: end, Type: IBAN}, ok
	case 0:
	default:
		return Span{}, false // digits within a word
	}
	if i >= 2 && text[i-1] == '.' && isDigit(text[i-2]) {
		return Span{}, false // a fraction, or the middle of something with dots
	}
	if end, ok := card(text, i); ok && (i == 0 || text[i-1] != '+') {
		return Span{Start: i, End: end, Type: Card}, true
	}
	if end, ok := ssn(text, i); ok {
		return Span{Start: i, End: end, Type: SSN}, true
	}
	if end, ok := ipv4(text, i); ok {
		return Span{Start: i, End: end, Type: IP}, true
	}
	start, end, ok := phone(text, i)
	return Span{Start: start, End: end, Type: Phone}, ok
}

// ibanLength has the length of each country's IBAN (SWIFT IBAN registry).
var ibanLength = map[[2]byte]int{
	{'A', 'D'}: 24, {'A', 'E'}: 23, {'A', 'L'}: 28, {'A', 'T'}: 20, {'A', 'Z'}: 28, {'B', 'A'}: 20, {'B', 'E'}: 16, {'B', 'G'}: 22,
	{'B', 'H'}: 22, {'B', 'I'}: 27, {'B', 'R'}: 29, {'B', 'Y'}: 28, {'C', 'H'}: 21, {'C', 'R'}: 22, {'C', 'Y'}: 28, {'C', 'Z'}: 24,
	{'D', 'E'}: 22, {'D', 'J'}: 27, {'D', 'K'}: 18, {'D', 'O'}: 28, {'E', 'E'}: 20, {'E', 'G'}: 29, {'E', 'S'}: 24, {'F', 'I'}: 18,
	{'F', 'K'}: 18, {'F', 'O'}: 18, {'F', 'R'}: 27, {'G', 'B'}: 22, {'G', 'E'}: 22, {'G', 'I'}: 23, {'G', 'L'}: 18, {'G', 'R'}: 27,
	{'G', 'T'}: 28, {'H', 'N'}: 28, {'H', 'R'}: 21, {'H', 'U'}: 28, {'I', 'E'}: 22, {'I', 'L'}: 23, {'I', 'Q'}: 23, {'I', 'S'}: 26,
	{'I', 'T'}: 27, {'J', 'O'}: 30, {'K', 'W'}: 30, {'K', 'Z'}: 20, {'L', 'B'}: 28, {'L', 'C'}: 32, {'L', 'I'}: 21, {'L', 'T'}: 20,
	{'L', 'U'}: 20, {'L', 'V'}: 21, {'L', 'Y'}: 25, {'M', 'C'}: 27, {'M', 'D'}: 24, {'M', 'E'}: 22, {'M', 'K'}: 19, {'M', 'N'}: 20,
	{'M', 'R'}: 27, {'M', 'T'}: 31, {'M', 'U'}: 30, {'N', 'I'}: 28, {'N', 'L'}: 18, {'N', 'O'}: 15, {'O', 'M'}: 23, {'P', 'K'}: 24,
	{'P', 'L'}: 28, {'P', 'S'}: 29, {'P', 'T'}: 25, {'Q', 'A'}: 29, {'R', 'O'}: 24, {'R', 'S'}: 22, {'R', 'U'}: 33, {'S', 'A'}: 24,
	{'S', 'C'}: 31, {'S', 'D'}: 18, {'S', 'E'}: 24, {'S', 'I'}: 19, {'S', 'K'}: 24, {'S', 'M'}: 27, {'S', 'O'}: 23, {'S', 'T'}: 25,
	{'S', 'V'}: 28, {'T', 'L'}: 23, {'T', 'N'}: 24, {'T', 'R'}: 26, {'U', 'A'}: 29, {'V', 'A'}: 22, {'V', 'G'}: 24, {'X', 'K'}: 20,
	{'Y', 'E'}: 30,
}

// iban returns the end of an IBAN: country, check digits, and as many letters
// and digits as the country's have, in one piece or in groups.
func iban(text []byte, start int) (end int, ok bool) {
	if start+15 > len(text) || !isDigit(text[start+3]) {
		return 0, false
	}
	length := ibanLength[[2]byte{text[start] &^ 0x20, text[start+1] &^ 0x20}]
	n, i := 0, start
	for ; n < length && i < len(text); i++ {
		if isAlnum(text[i]) {
			n++
		} else if text[i] != ' ' && text[i] != '-' || !isAlnum(text[i-1]) {
			break
		}
	}
	return i, length > 0 && n == length && freeAfter(text, i) && isMod97(text[start:i])
}

// card returns the end of a payment card's number: 13 to 19 digits that begin as
// an issuer's do, in one piece or in groups of at least three.
func card(text []byte, start int) (end int, ok bool) {
	if c := text[start]; c < '2' || c > '6' {
		return 0, false
	}
	var separator byte
	n, group := 0, start
	for i := start; ; {
		i = run(text, i, isDigit)
		n += i - group
		if n > 19 || n < 19 && i-group < 3 {
			return end, end > 0
		}
		if n >= 13 && freeAfter(text, i) && isCardLength(text[start:i], n) && isLuhn(text[start:i]) {
			end = i
		}
		if i+1 >= len(text) || text[i] != ' ' && text[i] != '-' || separator != 0 && text[i] != separator || !isDigit(text[i+1]) {
			return end, end > 0
		}
		separator = text[i]
		i++
		group = i
	}
}

// isCardLength tells whether cards that begin so have n digits (ISO/IEC 7812-1,
// and what the schemes publish).
func isCardLength(number []byte, n int) bool {
	switch second := number[1]; {
	case number[0] == '4':
		return n == 13 || n == 16 || n == 19
	case number[0] == '3' && (second == '4' || second == '7'):
		return n == 15
	case number[0] == '3' && (second == '0' || second == '6' || second == '8' || second == '9'):
		return n >= 14
	case number[0] == '2' && (second < '2' || second > '7'):
		return false
	default:
		return n >= 16
	}
}

// ssn returns the end of a social security number as it is written: 3, 2 and 4
// digits, none of them all zeros, the first neither 666 nor from 900 on.
func ssn(text []byte, start int) (end int, ok bool) {
	end = start + 11
	if end > len(text) || !freeAfter(text, end) || text[start+3] != text[start+6] || text[start+3] != '-' && text[start+3] != ' ' {
		return 0, false
	}
	for i := range 11 {
		if i != 3 && i != 6 && !isDigit(text[start+i]) {
			return 0, false
		}
	}
	if after := end + 1; after < len(text) && text[end] == '-' && isDigit(text[after]) {
		return 0, false
	}
	area, group, serial := string(text[start:start+3]), string(text[start+4:start+6]), string(text[start+7:end])
	return end, area != "000" && area != "666" && area[0] != '9' && group != "00" && serial != "0000"
}

// ipv4 returns the end of four numbers up to 255 with dots between them.
func ipv4(text []byte, start int) (end int, ok bool) {
	i := start
	for part := range 4 {
		if part > 0 {
			if i >= len(text) || text[i] != '.' {
				return 0, false
			}
			i++
		}
		from, value := i, 0
		for i < len(text) && isDigit(text[i]) && i-from < 4 {
			value = value*10 + int(text[i]-'0')
			i++
		}
		if i == from || i-from > 3 || value > 255 {
			return 0, false
		}
	}
	if i+1 < len(text) && text[i] == '.' && isDigit(text[i+1]) {
		return 0, false // more than four numbers
	}
	return i, freeAfter(text, i)
}

// phone finds a telephone number around the digits at i: international (+49 …,
// 0049 …), national with a leading zero, or North American (415-555-0123). A
// date, a time or a plain number is none.
func phone(text []byte, i int) (start, end int, ok bool) {
	start = i
	bracket := start > 0 && text[start-1] == '('
	if bracket {
		start--
	}
	plus := start > 0 && text[start-1] == '+'
	bracket = bracket && !plus
	if plus {
		start--
	}
	if first := run(text, i, isDigit) - i; !plus && text[i] != '0' && first != 3 && (first != 1 || text[i] != '1') {
		return 0, 0, false
	}
	d := dial{text: text, at: i}
	d.read()
	switch {
	case plus:
		end = d.upTo(15)
		ok = d.digits[0] != '0' && d.read8(end)
	case d.n > 2 && string(d.digits[:2]) == "00" && d.digits[2] != '0' && d.groups[0] != 2:
		end = d.upTo(17)
		ok = d.n >= 10
	case d.digits[0] == '0' && d.n > 1 && d.digits[1] != '0':
		end = d.upTo(12)
		ok = d.n >= 9 && d.isNational()
	default:
		end, ok = d.northAmerican()
	}
	if bracket && ok && bytes.IndexByte(text[i:end], ')') < 0 {
		start = i // it closes behind the number, if at all
	}
	return start, end, ok && freeAfter(text, end)
}

// dial is a row of groups of digits.
type dial struct {
	text   []byte
	at     int
	digits [24]byte
	n      int     // digits, at most the 24 that fit
	groups [12]int // digits of each group
	ends   [12]int
	count  int
	signs  [12]byte // in front of each group but the first: the sign between two groups, 0 when there are two
}

func (d *dial) read() {
	for i := d.at; d.count < len(d.groups); {
		from := i
		for i < len(d.text) && isDigit(d.text[i]) {
			if d.n < len(d.digits) {
				d.digits[d.n] = d.text[i]
				d.n++
			}
			i++
		}
		d.groups[d.count], d.ends[d.count] = i-from, i
		d.count++
		sign := i
		for i < len(d.text) && i-sign < 2 && isDialSign(d.text[i]) {
			i++
		}
		if i == sign || i >= len(d.text) || !isDigit(d.text[i]) {
			return
		}
		if d.count < len(d.signs) && i-sign == 1 {
			d.signs[d.count] = d.text[sign]
		}
	}
}

func isDialSign(c byte) bool {
	return c == ' ' || c == '-' || c == '.' || c == '/' || c == '(' || c == ')'
}

// upTo shortens the row to the groups that have at most so many digits together
// and returns where they end.
func (d *dial) upTo(most int) (end int) {
	n := 0
	for i := range d.count {
		if n += d.groups[i]; n > most {
			d.n, d.count = n-d.groups[i], i
			break
		}
		end = d.ends[i]
	}
	return end
}

// read8 tells whether enough digits are left for an international number.
func (d *dial) read8(end int) bool { return end > 0 && d.n >= 8 }

// isNational tells a number from a date: one long piece, an area code of three
// digits or more, one of two before a long group, or nothing but pairs.
func (d *dial) isNational() bool {
	switch {
	case d.count <= 1:
		return d.n >= 10
	case d.groups[0] >= 3:
		return d.groups[0] <= 6
	case d.groups[0] == 2 && d.groups[1] >= 4:
		return d.signs[1] != '/' && d.signs[1] != '.' || d.groups[1] > 4
	default:
		for i := range d.count {
			if d.groups[i] != 2 {
				return false
			}
		}
		return d.count == 5
	}
}

// northAmerican looks for 3, 3 and 4 digits, with a 1 in front or without.
func (d *dial) northAmerican() (end int, ok bool) {
	first := 0
	if d.count > 0 && d.groups[0] == 1 && d.digits[0] == '1' {
		first = 1
	}
	if d.count < first+3 || d.groups[first] != 3 || d.groups[first+1] != 3 || d.groups[first+2] != 4 {
		return 0, false
	}
	return d.ends[first+2], d.digits[first] >= '2' && d.digits[first+3] >= '2'
}

// appendIPv6 appends IPv6 addresses (RFC 4291, section 2.2). They have a digit,
// so that std::find is none.
func appendIPv6(dst []Span, text []byte) []Span {
	for at := 0; ; {
		i := bytes.IndexByte(text[at:], ':')
		if i < 0 {
			return dst
		}
		at += i
		start := at
		for start > 0 && at-start < 5 && isHex(text[start-1]) {
			start--
		}
		end := run(text, at, isIPv6)
		for end > at+1 && (text[end-1] == '.' || text[end-1] == ':' && text[end-2] != ':') {
			end-- // the end of a sentence
		}
		if isAddress(text, start, end) {
			dst = append(dst, Span{Start: start, End: end, Type: IP})
		}
		at = max(at+1, end)
	}
}

func isHex(c byte) bool  { return isDigit(c) || c|0x20-'a' < 6 }
func isIPv6(c byte) bool { return isHex(c) || c == ':' || c == '.' }

func isAddress(text []byte, start, end int) bool {
	const longest = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")
	if end-start < 3 || end-start > longest || !freeBefore(text, start) || !freeAfter(text, end) || !hasDigit(text[start:end]) {
		return false
	}
	if colons := bytes.Count(text[start:end], []byte(":")); colons < 7 && !bytes.Contains(text[start:end], []byte("::")) {
		return false
	}
	address, err := netip.ParseAddr(string(text[start:end]))
	return err == nil && address.Is6()
}
