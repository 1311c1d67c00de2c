package dispatch

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// authority signs certificates for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{cert, key, x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Over real sockets, by both protocols: the rule's authority and name are what the server must show, the rule's
// certificate is what the server sees, and nothing is left running after Close.
func TestTLSSettingsOfARule(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ca := newAuthority(t)
	asked := &tls.Config{
		Certificates: []tls.Certificate{ca.issue(t, "sink.example")}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}
	right := &tls.Config{RootCAs: ca.pool, ServerName: "sink.example", Certificates: []tls.Certificate{ca.issue(t, "innkeeper")}}

	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name := r.TLS.PeerCertificates[0].Subject.CommonName; name != "innkeeper" {
			t.Errorf("client certificate of %s", name)
		}
	}))
	web.TLS = asked.Clone()
	web.StartTLS()
	defer web.Close()

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	proxy := newProxyServer(t)
	server := proxy.serve(t, l, grpc.Creds(credentials.NewTLS(asked.Clone())))
	defer server.Stop()

	for name, url := range map[string]string{"https": web.URL, "grpcs": "grpcs://" + l.Addr().String()} {
		for _, test := range []struct {
			name   string
			tls    *tls.Config
			refuse bool
		}{
			{"right", right, false},
			{"system's roots", &tls.Config{ServerName: right.ServerName, Certificates: right.Certificates}, true},
			{"another name", &tls.Config{RootCAs: ca.pool, ServerName: "other.example", Certificates: right.Certificates}, true},
		} {
			log := newFakeLog()
			d := build(t, Config{Log: log, Rules: []Rule{{ID: "state", App: "demo", URL: url, TLS: test.tls}}})
			d.Lead(true)
			last := log.occupy("chat:1")
			await(t, d, func(s RuleStatus) bool { return s.Failures > 0 || s.Cursor == last })
			d.Close()
			s := d.Status().Rules[0]
			if test.refuse && (s.Sent > 0 || s.ByKind[FailedConnect] == 0) || !test.refuse && s.Failures > 0 {
				t.Errorf("%s, %s: %+v", name, test.name, s)
			}
		}
	}
}

// await polls a dispatcher that runs on real sockets.
func await(t *testing.T, d *Dispatcher, ok func(RuleStatus) bool) {
	t.Helper()
	for range 5000 {
		if ok(d.Status().Rules[0]) {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("not within 5 s: %+v", d.Status().Rules[0])
}
