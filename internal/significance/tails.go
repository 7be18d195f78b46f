package significance

import "math"

// Student is the probability that a number of Student's t distribution is at least t. The
// degrees of freedom need not be whole.
func Student(t, degrees float64) float64 {
	if math.IsNaN(t) {
		return 1
	}
	tail := beta(degrees/2, 0.5, degrees/(degrees+t*t)) / 2
	if t < 0 {
		return 1 - tail
	}
	return tail
}

// Binomial returns the probability of at least the given hits among n trials, each with probability p.
// The numbers need not be whole: between whole numbers, the incomplete beta function interpolates
// (DLMF 8.17.5).
func Binomial(n, hits, p float64) float64 {
	switch {
	case hits <= 0:
		return 1
	case hits > n:
		return 0
	}
	return beta(hits, n-hits+1, p)
}

// beta is the regularized incomplete beta function I_x(a, b), by its continued fraction
// (DLMF 8.17.22), which converges fast where x is below the mean; from the other side
// otherwise.
func beta(a, b, x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2):
		return 1 - beta(b, a, 1-x)
	}
	return math.Exp(a*math.Log(x)+b*math.Log1p(-x)-logBeta(a, b)) * fraction(a, b, x) / a
}

func logBeta(a, b float64) float64 {
	x, _ := math.Lgamma(a)
	y, _ := math.Lgamma(b)
	z, _ := math.Lgamma(a + b)
	return x + y - z
}

// fraction is the continued fraction 1/(1+ d1/(1+ d2/(1+ ..., by the method of Lentz as
// Thompson and Barnett changed it (J. Comput. Phys. 64 (1986) 490).
func fraction(a, b, x float64) float64 {
	const (
		tiny   = 1e-300
		enough = 1e-14
		most   = 100_000 // it takes about the root of a or b, whichever is larger
	)
	value, c, d := 1.0, 1.0, 0.0
	for i := 1; i < most; i++ {
		step := term(a, b, x, i)
		d = 1 / apart(1+step*d, tiny)
		c = apart(1+step/c, tiny)
		value *= c * d
		if math.Abs(c*d-1) < enough {
			break
		}
	}
	return 1 / value
}

// apart keeps a divisor away from 0.
func apart(x, tiny float64) float64 {
	if math.Abs(x) < tiny {
		return tiny
	}
	return x
}

// term is d of the fraction, from the first on: d(2m) and d(2m+1) of DLMF 8.17.23.
func term(a, b, x float64, i int) float64 {
	m := float64(i / 2)
	if i%2 == 0 {
		return m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
	}
	return -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
}
