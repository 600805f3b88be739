package parsers

import (
	"bytes"

	"github.com/auditail/auditail/audit"
)

// SetClient fills client.ip from an address as logs write it: "10.0.0.7",
// "10.0.0.7:52114", "2001:db8::1", "[2001:db8::1]:443". Of a list, as in
// X-Forwarded-For, it takes the last: the nearest proxy wrote that one, the
// ones before are whatever the caller sent. It reports false, and sets
// nothing, for what is no address.
func (d *Draft) SetClient(address []byte) bool {
	if at := bytes.LastIndexByte(address, ','); at >= 0 {
		address = bytes.TrimLeft(address[at+1:], " ")
	}
	host := withoutPort(address)
	if !IsAddress(host) {
		return false
	}
	d.Record.SetText(audit.ClientIP, host)
	return true
}

func withoutPort(address []byte) []byte {
	if len(address) == 0 {
		return nil
	}
	if address[0] == '[' {
		if at := bytes.IndexByte(address, ']'); at > 0 {
			return address[1:at]
		}
		return nil
	}
	if at := bytes.IndexByte(address, ':'); at > 0 && bytes.IndexByte(address[at+1:], ':') < 0 {
		return address[:at] // one colon: IPv4 with a port
	}
	return address
}

// IsAddress tells whether b is an IPv4 or IPv6 address, perhaps with a zone.
func IsAddress(b []byte) bool {
	if bytes.IndexByte(b, ':') < 0 {
		return isIPv4(b)
	}
	if at := bytes.IndexByte(b, '%'); at >= 0 {
		if at == len(b)-1 || len(b)-at > 32 {
			return false
		}
		b = b[:at]
	}
	groups, double, digits, start := 0, false, 0, 0
	for i, c := range b {
		switch {
		case c == ':':
			if digits > 0 {
				groups++
			}
			if i > 0 && b[i-1] == ':' {
				if double {
					return false
				}
				double = true
			} else if i == 0 && (len(b) < 2 || b[1] != ':') {
				return false
			}
			digits, start = 0, i+1
		case c == '.':
			if !isIPv4(b[start:]) {
				return false
			}
			groups += 2
			return double == (groups < 8) && groups <= 8
		case isHex(c):
			if digits++; digits > 4 {
				return false
			}
		default:
			return false
		}
	}
	if digits > 0 {
		groups++
	} else if len(b) < 2 || b[len(b)-2] != ':' {
		return false
	}
	return double == (groups < 8) && groups <= 8
}

func isIPv4(b []byte) bool {
	part, digits, dots := 0, 0, 0
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			if digits > 0 && part == 0 {
				return false // leading zero
			}
			part = part*10 + int(c-'0')
			if digits++; part > 255 {
				return false
			}
		case c == '.' && digits > 0:
			dots++
			part, digits = 0, 0
		default:
			return false
		}
	}
	return dots == 3 && digits > 0
}

func isHex(c byte) bool {
	_, ok := HexDigit(c)
	return ok
}
