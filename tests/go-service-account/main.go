// go-service-account says what Kubernetes' own authenticators think of service account tokens. Its arguments are key files. It reads
// tokens on standard input, one a line, in base64, and answers each with a JSON line on standard output.
//
// An answer: {"legacy": VERDICT, "bound": VERDICT}, and a verdict: {"error": why not, "user": {...}}, of which one is there, or neither if
// the token is left to others.
//
// Every object that a token names is there, with the uid that the token says, provided that its name and uid can be. So this is what
// a token is worth to somebody who does not look.
//
// It is built within the sources of k8s.io/kubernetes, by tests/kube/build.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"

	josejson "gopkg.in/go-jose/go-jose.v2/json"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/client-go/util/keyutil"
	"k8s.io/kubernetes/pkg/serviceaccount"
)

type user struct {
	Username string              `json:"username"`
	UID      string              `json:"uid"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra"`
}

type verdict struct {
	Error string `json:"error,omitempty"`
	User  *user  `json:"user,omitempty"`
}

type answer struct {
	Legacy verdict `json:"legacy"`
	Bound  verdict `json:"bound"`
}

// The references of a token.
type references struct {
	Kubernetes struct {
		Account reference `json:"serviceaccount"`
		Pod     reference `json:"pod"`
		Secret  reference `json:"secret"`
		Node    reference `json:"node"`
	} `json:"kubernetes.io"`
}

type reference struct {
	UID string `json:"uid"`
}

func (r references) object(namespace, name, uid string) (metav1.ObjectMeta, error) {
	if len(validation.ValidateNamespaceName(namespace, false)) > 0 || len(validation.NameIsDNSSubdomain(name, false)) > 0 {
		return metav1.ObjectMeta{}, errors.New("there is no object of this name")
	}
	if uid == "" {
		uid = "objects have a uid"
	}
	return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(uid)}, nil
}

func (r references) GetServiceAccount(_ context.Context, namespace, name string) (*v1.ServiceAccount, error) {
	object, err := r.object(namespace, name, r.Kubernetes.Account.UID)
	return &v1.ServiceAccount{ObjectMeta: object}, err
}

func (r references) GetPod(_ context.Context, namespace, name string) (*v1.Pod, error) {
	object, err := r.object(namespace, name, r.Kubernetes.Pod.UID)
	return &v1.Pod{ObjectMeta: object}, err
}

func (r references) GetSecret(_ context.Context, namespace, name string) (*v1.Secret, error) {
	object, err := r.object(namespace, name, r.Kubernetes.Secret.UID)
	return &v1.Secret{ObjectMeta: object}, err
}

func (r references) GetNode(_ context.Context, name string) (*v1.Node, error) {
	object, err := r.object("default", name, r.Kubernetes.Node.UID)
	return &v1.Node{ObjectMeta: object}, err
}

func main() {
	var files []interface{}
	for _, file := range os.Args[1:] {
		keys, err := keyutil.PublicKeysFromFile(file)
		must(err)
		files = append(files, keys...)
	}
	keys, err := serviceaccount.StaticPublicKeysGetter(files)
	must(err)
	audiences := authenticator.Audiences{"api", "vault"}
	ctx := authenticator.WithAudiences(context.Background(), audiences)
	ask := func(authn authenticator.Token, token string) verdict {
		response, ok, err := authn.AuthenticateToken(ctx, token)
		if err != nil {
			return verdict{Error: err.Error()}
		}
		if !ok {
			return verdict{}
		}
		info := response.User
		return verdict{User: &user{info.GetName(), info.GetUID(), info.GetGroups(), info.GetExtra()}}
	}
	notLookingUp, err := serviceaccount.NewLegacyValidator(false, nil, nil)
	must(err)
	legacy := serviceaccount.JWTTokenAuthenticator([]string{serviceaccount.LegacyIssuer}, keys, audiences, notLookingUp)

	answers := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		token, err := base64.StdEncoding.DecodeString(lines.Text())
		must(err)
		var objects references
		if parts := strings.Split(string(token), "."); len(parts) == 3 {
			if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
				_ = josejson.Unmarshal(payload, &objects) // what cannot be decoded is refused
			}
		}
		issuers := []string{"https://issuer", "plain"}
		bound := serviceaccount.JWTTokenAuthenticator(issuers, keys, audiences, serviceaccount.NewValidator(objects))
		must(answers.Encode(answer{ask(legacy, string(token)), ask(bound, string(token))}))
	}
	must(lines.Err())
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
