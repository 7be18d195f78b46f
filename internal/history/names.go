package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// stages are those of a pipeline, in their order.
var stages = []string{"prepare", "build", "test", "scan", "package", "deploy"}

// A kind is what is known of a template by its name alone.
type kind struct {
	name   string
	stage  string
	median time.Duration // of how long it takes
}

// known are the most popular templates, the most popular one first. Their medians cover
// the whole range, and no popular one takes by far the most time of all.
var known = []kind{
	{"docker_build", "build", 150 * time.Second},
	{"npm_test", "test", 95 * time.Second},
	{"dotnet_build", "build", 110 * time.Second},
	{"helm_restore", "prepare", 14 * time.Second},
	{"integration_test", "test", 7 * time.Minute},
	{"sast_scan", "scan", 80 * time.Second},
	{"dotnet_test", "test", 4 * time.Minute},
	{"npm_build", "build", 130 * time.Second},
	{"deploy_review", "deploy", 70 * time.Second},
	{"helm_lint", "prepare", 10 * time.Second},
	{"terraform_plan", "build", 55 * time.Second},
	{"container_scan", "scan", 3 * time.Minute},
	{"go_test", "test", 105 * time.Second},
	{"npm_publish", "package", 35 * time.Second},
	{"e2e_test", "test", 18 * time.Minute},
	{"terraform_apply", "deploy", 5 * time.Minute},
	{"secret_detection", "scan", 25 * time.Second},
	{"helm_publish", "package", 20 * time.Second},
	{"deploy_production", "deploy", 9 * time.Minute},
	{"load_test", "test", 30 * time.Minute},
	{"maven_package", "package", 4 * time.Minute},
	{"python_lint", "prepare", 18 * time.Second},
	{"dast_scan", "scan", 22 * time.Minute},
	{"dotnet_publish", "package", 60 * time.Second},
}

// tools and actions make up the names of further templates, such as gradle_test.
var (
	tools = []string{"gradle", "cargo", "pytest", "bazel", "cmake", "composer", "bundler", "android",
		"xcode", "yarn", "poetry", "ansible", "packer", "kustomize", "nuget", "protobuf"}
	actions = []kind{
		{"build", "build", 3 * time.Minute},
		{"lint", "prepare", 20 * time.Second},
		{"test", "test", 150 * time.Second},
		{"publish", "package", 40 * time.Second},
		{"restore", "prepare", 25 * time.Second},
		{"scan", "scan", 100 * time.Second},
		{"deploy", "deploy", 2 * time.Minute},
		{"benchmark", "test", 14 * time.Minute},
	}
)

// kindOf is the template of a rank, from 0 on. Every rank has a name of its own.
func kindOf(rank int) kind {
	if rank < len(known) {
		return known[rank]
	}
	i := rank - len(known)
	tool, round := i%len(tools), i/len(tools)
	k := actions[(tool+round)%len(actions)]
	k.name = tools[tool] + "_" + k.name
	if again := round / len(actions); again > 0 {
		k.name += fmt.Sprintf("_v%d", again+1)
	}
	return k
}

// Words of projects' paths, branches and runners.
var (
	groups = []string{"shop", "platform", "payments", "data", "mobile", "infra", "identity", "logistics",
		"search", "marketing", "finance", "support", "internal-tools", "partners"}
	subgroups = []string{"backend", "frontend", "core", "libs", "batch", "edge", "legacy", "apps"}
	subjects  = []string{"cart", "orders", "payments", "invoice", "login", "catalog", "stock", "price",
		"mail", "customer", "session", "shipping", "returns", "voucher", "report", "search", "review", "address",
		"fraud", "ledger", "notification", "profile", "image", "tax", "contract"}
	parts = []string{"api", "web", "service", "worker", "gateway", "ui", "sync", "importer", "admin", "client",
		"model", "events"}
	branches = []string{"feature/new-%s", "feature/%s-v2", "fix/%s-timeout", "fix/%s-encoding", "renovate/%s",
		"refactor/%s", "spike/%s", "hotfix/%s"}
	runners = []string{"k8s-linux-1", "k8s-linux-2", "k8s-linux-3", "k8s-linux-4", "k8s-linux-large-1",
		"k8s-linux-large-2", "k8s-arm-1", "k8s-spot-1", "k8s-spot-2"}
)

func oneOf(r *rand.Rand, words []string) string { return words[r.IntN(len(words))] }

// paths makes up projects, all different: shop/web, platform/core/payments-api.
func paths(r *rand.Rand, n int) []string {
	made := make([]string, 0, n)
	times := make(map[string]int, n)
	for len(made) < n {
		path := path(r)
		times[path]++
		if again := times[path]; again > 1 {
			path += fmt.Sprintf("-%d", again)
		}
		made = append(made, path)
	}
	return made
}

// path is in a nested group for two projects of five, and in one of those for a fifth
// of them.
func path(r *rand.Rand) string {
	levels := []string{oneOf(r, groups)}
	for odds := 0.4; len(levels) < 3 && r.Float64() < odds; odds /= 2 {
		if sub := oneOf(r, subgroups); sub != levels[len(levels)-1] {
			levels = append(levels, sub)
		}
	}
	name := oneOf(r, subjects)
	if r.Float64() < 0.85 {
		name += "-" + oneOf(r, parts)
	}
	return strings.Join(append(levels, name), "/")
}

// branchesOf are those that a project's people work on.
func branchesOf(r *rand.Rand) []string {
	made := make([]string, 3+r.IntN(4))
	for i := range made {
		made[i] = fmt.Sprintf(oneOf(r, branches), oneOf(r, subjects))
	}
	return made
}

// jobsOf are the names of a template's jobs in one project's pipelines: nearly always
// one, which is called like the template or to the project's liking. Some tests run in
// parallel, and some builds for two platforms.
func jobsOf(r *rand.Rand, t *template, project string) []string {
	name := t.name
	switch r.IntN(5) {
	case 0:
		name = strings.ReplaceAll(name, "_", "-")
	case 1:
		name += "-" + project[strings.LastIndexAny(project, "/-")+1:]
	}
	switch {
	case stages[t.stage] == "test" && r.IntN(12) == 0:
		return parallel(name, 2+r.IntN(4))
	case stages[t.stage] == "build" && r.IntN(16) == 0:
		return []string{name + ": [linux, amd64]", name + ": [linux, arm64]"}
	}
	return []string{name}
}

func parallel(name string, n int) []string {
	made := make([]string, n)
	for i := range made {
		made[i] = fmt.Sprintf("%s %d/%d", name, i+1, n)
	}
	return made
}
