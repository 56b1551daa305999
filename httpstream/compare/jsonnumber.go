package compare

import (
	"math/big"
	"strings"
)

// canonicalNumber writes a JSON number (RFC 8259 section 6) so that equal
// decimal values, and only they, are written alike: significant digits without
// leading or trailing zeros, and a power of ten. No value is ever computed, so
// 1e999999999 costs no more than 1.
func canonicalNumber(lit string) string {
	sign := ""
	if strings.HasPrefix(lit, "-") {
		sign, lit = "-", lit[1:]
	}
	mantissa, exp := lit, ""
	if i := strings.IndexAny(lit, "eE"); i >= 0 {
		mantissa, exp = lit[:i], lit[i+1:]
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	if digits == "" {
		return "0" // minus zero is zero
	}
	significant := strings.TrimRight(digits, "0")
	shift := int64(len(digits)-len(significant)) - int64(len(frac))

	var power string
	switch {
	case exp == "":
		power = big.NewInt(shift).String()
	default:
		e, ok := new(big.Int).SetString(strings.TrimPrefix(exp, "+"), 10)
		if !ok {
			return sign + lit // not a number: compared as it stands
		}
		power = e.Add(e, big.NewInt(shift)).String()
	}
	return sign + significant + "e" + power
}
