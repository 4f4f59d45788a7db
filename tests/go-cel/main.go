// go-cel says what Kubernetes' own compiler makes of a CEL expression of an AuthenticationConfiguration, and what the expression
// evaluates to. It reads questions as JSON lines on standard input and answers each with a JSON line on standard output.
//
// A question: {"scope": "claims" or "user", "returns": "any" or "bool", "expression": text, "claims": {...}} or, in the place of
// claims, "user": {"username", "uid", "groups", "extra"}. Without either it is only compiled.
//
// An answer: {"compile": "" or the error, "error": "" or why it does not evaluate, "value": {kind: value}, "strings": [...] as a
// mapping would take the value, or "strings_error", "cost": what cel-go counted}.
//
// With the argument "declarations" it lists the functions that expressions may call, as src/cel/declarations.txt does.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"

	"k8s.io/apimachinery/pkg/api/resource"
	authenticationcel "k8s.io/apiserver/pkg/authentication/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/lazy"
)

type question struct {
	Scope      string                     `json:"scope"`
	Returns    string                     `json:"returns"`
	Expression string                     `json:"expression"`
	Claims     map[string]json.RawMessage `json:"claims"`
	User       *struct {
		Username string              `json:"username"`
		UID      string              `json:"uid"`
		Groups   []string            `json:"groups"`
		Extra    map[string][]string `json:"extra"`
	} `json:"user"`
}

type answer struct {
	Compile      string   `json:"compile"`
	Error        string   `json:"error,omitempty"`
	Value        any      `json:"value,omitempty"`
	Strings      []string `json:"strings,omitempty"`
	StringsError string   `json:"strings_error,omitempty"`
	Cost         *uint64  `json:"cost,omitempty"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "declarations" {
		listDeclarations()
		return
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	questions := json.NewDecoder(in)
	answers := json.NewEncoder(out)
	compiler := authenticationcel.NewDefaultCompiler()
	for questions.More() {
		var q question
		if err := questions.Decode(&q); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := answers.Encode(ask(compiler, &q)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	if err := out.Flush(); err != nil {
		os.Exit(1)
	}
}

func listDeclarations() {
	env := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).StoredExpressionsEnv()
	functions := env.Functions()
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		if functions[name].IsDeclarationDisabled() {
			continue
		}
		fmt.Println(name)
		for _, overload := range functions[name].OverloadDecls() {
			style := "global"
			if overload.IsMemberFunction() {
				style = "method"
			}
			args := []string{}
			for _, arg := range overload.ArgTypes() {
				args = append(args, checker.FormatCELType(arg))
			}
			result := checker.FormatCELType(overload.ResultType())
			fmt.Printf("  %s | %s | %s | %s\n", overload.ID(), style, strings.Join(args, "; "), result)
		}
	}
}

func ask(compiler authenticationcel.Compiler, q *question) (a answer) {
	// Some expressions make cel-go or Kubernetes' compiler panic.
	defer func() {
		if p := recover(); p != nil {
			a = answer{Compile: fmt.Sprintf("panic: %v", p)}
		}
	}()
	var accessor authenticationcel.ExpressionAccessor
	switch {
	case q.Returns == "any":
		accessor = &authenticationcel.ClaimMappingExpression{Expression: q.Expression}
	case q.Scope == "claims":
		accessor = &authenticationcel.ClaimValidationCondition{Expression: q.Expression}
	default:
		accessor = &authenticationcel.UserValidationCondition{Expression: q.Expression}
	}
	compile := compiler.CompileClaimsExpression
	if q.Scope == "user" {
		compile = compiler.CompileUserExpression
	}
	compiled, err := compile(accessor)
	if err != nil {
		if e, ok := err.(*cel.Error); ok {
			return answer{Compile: e.Detail}
		}
		return answer{Compile: err.Error()}
	}
	var value traits.Mapper
	switch {
	case q.Claims != nil:
		value = newClaimsValue(q.Claims)
	case q.User != nil:
		value = newUserInfoValue(&user.DefaultInfo{Name: q.User.Username, UID: q.User.UID, Groups: q.User.Groups, Extra: q.User.Extra})
	default:
		return answer{}
	}
	result, details, err := compiled.Program.ContextEval(context.Background(), &activation{name: q.Scope, value: value})
	if details != nil {
		a.Cost = details.ActualCost()
	}
	if err != nil {
		a.Error = err.Error()
		return a
	}
	a.Value = encode(result)
	a.Strings, err = convertCELValueToStringList(result)
	if err != nil {
		a.StringsError = err.Error()
	}
	return a
}

func encode(v ref.Val) any {
	switch v := v.(type) {
	case types.Bool:
		return map[string]any{"bool": bool(v)}
	case types.Int:
		return map[string]any{"int": strconv.FormatInt(int64(v), 10)}
	case types.Uint:
		return map[string]any{"uint": strconv.FormatUint(uint64(v), 10)}
	case types.Double:
		return map[string]any{"double": strconv.FormatFloat(float64(v), 'g', -1, 64)}
	case types.String:
		return map[string]any{"string": string(v)}
	case types.Bytes:
		return map[string]any{"bytes": base64.StdEncoding.EncodeToString([]byte(v))}
	case types.Null:
		return map[string]any{"null": true}
	case types.Timestamp:
		return map[string]any{"timestamp": string(v.ConvertToType(types.StringType).(types.String))}
	case types.Duration:
		return map[string]any{"duration": strconv.FormatInt(int64(v.Duration), 10)}
	case *types.Type:
		return map[string]any{"type": v.TypeName()}
	case *types.Optional:
		if v.HasValue() {
			return map[string]any{"optional": encode(v.GetValue())}
		}
		return map[string]any{"none": true}
	case *types.Err:
		return map[string]any{"error": v.Error()}
	case cel.IP:
		return map[string]any{"ip": v.Addr.String()}
	case cel.CIDR:
		return map[string]any{"cidr": v.Prefix.String()}
	case cel.URL:
		return map[string]any{"url": v.URL.String()}
	case cel.Quantity:
		return quantity(v.Quantity)
	case *cel.Quantity:
		return quantity(v.Quantity)
	case cel.Semver:
		return map[string]any{"semver": v.Version.String()}
	case cel.Format:
		return map[string]any{"format": v.Name}
	case *lazy.MapValue:
		return map[string]any{"input": v.Type().TypeName()}
	case traits.Mapper:
		entries := [][2]any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			entries = append(entries, [2]any{encode(key), encode(v.Get(key))})
		}
		sort.Slice(entries, func(i, j int) bool {
			a, _ := json.Marshal(entries[i])
			b, _ := json.Marshal(entries[j])
			return string(a) < string(b)
		})
		return map[string]any{"map": entries}
	case traits.Lister:
		items := []any{}
		for it := v.Iterator(); it.HasNext() == types.True; {
			items = append(items, encode(it.Next()))
		}
		return map[string]any{"list": items}
	}
	return map[string]any{"other": fmt.Sprintf("%T", v)}
}

// quantity says a quantity in plain digits without needless zeros, and their exponent.
func quantity(q *resource.Quantity) any {
	d := q.DeepCopy()
	digits, exponent := d.AsDec().UnscaledBig(), -int(d.AsDec().Scale())
	ten := big.NewInt(10)
	for digits.Sign() != 0 {
		quotient, rest := new(big.Int).QuoRem(digits, ten, new(big.Int))
		if rest.Sign() != 0 {
			return map[string]any{"quantity": fmt.Sprintf("%se%d", digits, exponent)}
		}
		digits, exponent = quotient, exponent+1
	}
	return map[string]any{"quantity": "0"}
}

type activation struct {
	name  string
	value traits.Mapper
}

func (a *activation) ResolveName(name string) (any, bool) {
	if name != a.name {
		return nil, false
	}
	return a.value, true
}

func (a *activation) Parent() interpreter.Activation { return nil }

// What follows is unexported in k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go and copied from there (v0.36.3,
// Apache-2.0, Copyright The Kubernetes Authors).

func newClaimsValue(c map[string]json.RawMessage) *lazy.MapValue {
	lazyMap := lazy.NewMapValue(types.NewObjectType("kubernetes.claims"))
	for name, msg := range c {
		lazyMap.Append(name, func(_ *lazy.MapValue) ref.Val {
			data, err := msg.MarshalJSON()
			if err != nil {
				return types.WrapErr(err)
			}
			var value any
			if err := json.Unmarshal(data, &value); err != nil {
				return types.NewErr("claim %q failed to unmarshal: %w", name, err)
			}
			return nativeToValueWithUnescape(value)
		})
	}
	return lazyMap
}

func newUserInfoValue(info user.Info) *lazy.MapValue {
	lazyMap := lazy.NewMapValue(types.NewObjectType("kubernetes.UserInfo"))
	field := func(name string, get func() any) {
		lazyMap.Append(name, func(_ *lazy.MapValue) ref.Val {
			value := get()
			return nativeToValueWithUnescape(value)
		})
	}
	field("username", func() any { return info.GetName() })
	field("uid", func() any { return info.GetUID() })
	field("groups", func() any { return info.GetGroups() })
	field("extra", func() any { return info.GetExtra() })
	return lazyMap
}

func convertCELValueToStringList(val ref.Val) ([]string, error) {
	switch val.Type().TypeName() {
	case celgo.StringType.TypeName():
		out := val.Value().(string)
		if len(out) == 0 {
			return nil, nil
		}
		return []string{out}, nil
	case celgo.ListType(nil).TypeName():
		var result []string
		switch val.Value().(type) {
		case []interface{}:
			for _, v := range val.Value().([]interface{}) {
				out, ok := v.(string)
				if !ok {
					return nil, fmt.Errorf("expression must return a string or a list of strings")
				}
				if len(out) == 0 {
					continue
				}
				result = append(result, out)
			}
		case []ref.Val:
			for _, v := range val.Value().([]ref.Val) {
				out, ok := v.Value().(string)
				if !ok {
					return nil, fmt.Errorf("expression must return a string or a list of strings")
				}
				if len(out) == 0 {
					continue
				}
				result = append(result, out)
			}
		default:
			return nil, fmt.Errorf("expression must return a string or a list of strings")
		}
		if len(result) == 0 {
			return nil, nil
		}
		return result, nil
	case celgo.NullType.TypeName():
		return nil, nil
	default:
		return nil, fmt.Errorf("expression must return a string or a list of strings")
	}
}

func nativeToValueWithUnescape(value any) ref.Val {
	return unescapeWrapper(types.DefaultTypeAdapter.NativeToValue(value))
}

type unescapeMapper struct {
	traits.Mapper
}

func (m *unescapeMapper) Find(key ref.Val) (ref.Val, bool) {
	name, ok := unescapedName(key)
	if ok {
		key = name
	}
	value, ok := m.Mapper.Find(key)
	return unescapeWrapper(value), ok
}

type unescapeLister struct {
	traits.Lister
}

func (l *unescapeLister) Get(index ref.Val) ref.Val {
	return unescapeWrapper(l.Lister.Get(index))
}

func unescapeWrapper(value ref.Val) ref.Val {
	switch v := value.(type) {
	case traits.Mapper:
		return &unescapeMapper{Mapper: v}
	case traits.Lister:
		return &unescapeLister{Lister: v}
	default:
		return value
	}
}

func unescapedName(key ref.Val) (types.String, bool) {
	n, ok := key.(types.String)
	if !ok {
		return "", false
	}
	ns := string(n)
	name, ok := cel.Unescape(ns)
	if !ok || name == ns {
		return "", false
	}
	return types.String(name), true
}
