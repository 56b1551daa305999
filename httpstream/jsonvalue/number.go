package jsonvalue

import (
	"math/big"
	"strconv"
	"strings"
)

// CanonicalNumber writes a JSON number (RFC 8259 section 6) so that equal
// decimal values, and only they, are written alike: significant digits without
// leading or trailing zeros, and a power of ten. 1, 1.0 and 10e-1 are all "1e0".
// No value is ever computed, so 1e999999999 costs no more than 1.
func CanonicalNumber(lit string) string {
	sign := ""
	if strings.HasPrefix(lit, "-") {
		sign, lit = "-", lit[1:]
	}
	mantissa, power := lit, "0"
	if i := strings.IndexAny(lit, "eE"); i >= 0 {
		mantissa, power = lit[:i], lit[i+1:]
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	if digits == "" {
		return "0" // minus zero is zero
	}
	significant := strings.TrimRight(digits, "0")
	shift := int64(len(digits)-len(significant)) - int64(len(frac))
	sum, ok := addPower(power, shift)
	if !ok {
		return sign + lit // not a number: compared as it stands
	}
	return sign + significant + "e" + sum
}

// addPower adds n to an exponent of any length.
func addPower(power string, n int64) (sum string, ok bool) {
	if p, err := strconv.ParseInt(power, 10, 32); err == nil {
		return strconv.FormatInt(p+n, 10), true
	}
	p, ok := new(big.Int).SetString(strings.TrimPrefix(power, "+"), 10)
	if !ok {
		return "", false
	}
	return p.Add(p, big.NewInt(n)).String(), true
}
