package significance

import "math"

// An Estimate is a number of one template and the variance with which it is known.
type Estimate struct{ Value, Variance float64 }

// MinOthers is the least number of others that an outlier is compared with.
const MinOthers = 5

// StandsOut returns the p-value of a number that is above those of others, which differ among themselves
// too, and the expected number of one more like them. The others are treated as a random sample (random
// effects; the variance between them by DerSimonian and Laird, Control. Clin. Trials 7 (1986) 177). The
// one is compared with the prediction for one more: Higgins, Thompson and Spiegelhalter,
// J. R. Statist. Soc. A 172 (2009) 137, equation 12.
func StandsOut(one Estimate, others []Estimate) (p, expected float64) {
	k := float64(len(others))
	fixed := pool(others, 0)
	if k < MinOthers {
		return 1, fixed.mean
	}
	q := 0.0
	for _, o := range others {
		d := o.Value - fixed.mean
		q += d * d / o.Variance
	}
	between := max((q-(k-1))/(fixed.weight-fixed.squares/fixed.weight), 0)
	all := pool(others, between)
	t := (one.Value - all.mean) / math.Sqrt(one.Variance+between+1/all.weight)
	return Student(t, k-2), all.mean
}

// pooled is a mean of estimates, weighted by the inverse of their variances.
type pooled struct{ mean, weight, squares float64 }

func pool(estimates []Estimate, between float64) (p pooled) {
	for _, e := range estimates {
		w := 1 / (e.Variance + between)
		p.mean += w * e.Value
		p.weight += w
		p.squares += w * w
	}
	p.mean /= p.weight
	return p
}

// A Part is what one cluster, a day or a project, adds to a ratio of two sums.
type Part struct{ Num, Den float64 }

// LogRatio is the logarithm of the ratio of two sums over clusters, with the variance that
// it has if the clusters are independent (linearized; Cochran, Sampling Techniques (1977),
// 6.3). Its variance is +Inf if there is too little.
func LogRatio(clusters []Part) Estimate {
	var all Part
	n := 0.0
	for _, c := range clusters {
		all.Num += c.Num
		all.Den += c.Den
		if c.Den > 0 {
			n++
		}
	}
	if n < 2 || all.Num <= 0 {
		return Estimate{Variance: math.Inf(1)}
	}
	ratio, squares := all.Num/all.Den, 0.0
	for _, c := range clusters {
		d := c.Num - ratio*c.Den
		squares += d * d
	}
	return Estimate{math.Log(ratio), squares / (all.Num * all.Num) * n / (n - 1)}
}
