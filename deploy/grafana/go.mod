module ci-jobs-metrics/deploy/grafana

go 1.27.0

toolchain go1.27.3

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
