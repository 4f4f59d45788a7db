// Reads metrics and queries as Prometheus does, with its own code. tests/kube/build builds it; tests/kube/metrics.rs asks it.
//
//	go-prometheus page       a page in the text format on stdin: its families as JSON, and what promlint has against them
//	go-prometheus queries    PromQL on stdin, an expression a line: the metrics and labels of each as JSON
//	go-prometheus rules      a file of rules on stdin: the expressions of its alerts, if Prometheus takes it
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

type family struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Help string `json:"help"`
	// The names of the labels of each sample, without le, in order and each list once.
	Labels [][]string `json:"labels"`
	// The upper bounds of a histogram's buckets.
	Bounds  []float64 `json:"bounds,omitempty"`
	Samples int       `json:"samples"`
}

func page(in []byte) (any, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(in))
	if err != nil {
		return nil, err
	}
	families := []family{}
	for _, metrics := range parsed {
		families = append(families, describe(metrics))
	}
	slices.SortFunc(families, func(a, b family) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	problems, err := promlint.New(bytes.NewReader(in)).Lint()
	if err != nil {
		return nil, err
	}
	told := []string{}
	for _, problem := range problems {
		told = append(told, problem.Metric+": "+problem.Text)
	}
	return map[string]any{"families": families, "problems": told}, nil
}

func describe(metrics *dto.MetricFamily) family {
	described := family{Name: metrics.GetName(), Type: metrics.GetType().String(), Help: metrics.GetHelp(), Labels: [][]string{}}
	for _, metric := range metrics.Metric {
		names := []string{}
		for _, label := range metric.Label {
			names = append(names, label.GetName())
		}
		slices.Sort(names)
		if !slices.ContainsFunc(described.Labels, func(other []string) bool { return slices.Equal(other, names) }) {
			described.Labels = append(described.Labels, names)
		}
		if metric.Histogram != nil {
			described.Bounds = nil
			for _, bucket := range metric.Histogram.Bucket {
				if bound := bucket.GetUpperBound(); bound <= 1e300 {
					described.Bounds = append(described.Bounds, bound)
				}
			}
		}
		described.Samples++
	}
	return described
}

type selector struct {
	Name string `json:"name"`
	// Labels that are asked for, and the values that they must have where that is an equality.
	Labels map[string]string `json:"labels"`
	// Labels that the result is grouped by or matched on, anywhere around.
	Grouping []string `json:"grouping"`
}

func queries(in []byte) (any, error) {
	all := [][]selector{}
	lines := bufio.NewScanner(bytes.NewReader(in))
	for lines.Scan() {
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", lines.Text(), err)
		}
		selectors := []selector{}
		parser.Inspect(expression, func(node parser.Node, path []parser.Node) error {
			found, ok := node.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			one := selector{Name: found.Name, Labels: map[string]string{}, Grouping: []string{}}
			for _, matcher := range found.LabelMatchers {
				if matcher.Name == labels.MetricName {
					continue
				}
				one.Labels[matcher.Name] = ""
				if matcher.Type == labels.MatchEqual {
					one.Labels[matcher.Name] = matcher.Value
				}
			}
			for _, around := range path {
				if aggregate, ok := around.(*parser.AggregateExpr); ok && !aggregate.Without {
					one.Grouping = append(one.Grouping, aggregate.Grouping...)
				}
			}
			selectors = append(selectors, one)
			return nil
		})
		all = append(all, selectors)
	}
	return all, lines.Err()
}

func rules(in []byte) (any, error) {
	groups, errs := rulefmt.Parse(in, false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.Default())
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	expressions := []string{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			expressions = append(expressions, strings.Join(strings.Fields(rule.Expr), " "))
		}
	}
	return expressions, nil
}

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	commands := map[string]func([]byte) (any, error){"page": page, "queries": queries, "rules": rules}
	if len(os.Args) != 2 || commands[os.Args[1]] == nil {
		log.Fatal("usage: go-prometheus page | queries | rules")
	}
	told, err := commands[os.Args[1]](in)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(told); err != nil {
		log.Fatal(err)
	}
}
