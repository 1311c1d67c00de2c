package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// fileKeyError is what is wrong with the file of one key.
type fileKeyError struct {
	key string // ca_file, cert_file or key_file
	err error
}

func (e *fileKeyError) Error() string { return e.key + ": " + e.err.Error() }

// Config reads the files and returns the settings for a connection, nil for the defaults.
func (t TLS) Config() (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
	if t.CAFile != "" {
		pem, err := readPEM("ca_file", t.CAFile)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &fileKeyError{"ca_file", fmt.Errorf("%s holds no certificate; it must be in PEM form, with a line BEGIN CERTIFICATE", t.CAFile)}
		}
	}
	if t.CertFile != "" {
		cert, err := readPEM("cert_file", t.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := readPEM("key_file", t.KeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, &fileKeyError{"cert_file", fmt.Errorf("%s and %s are no pair of certificate and key: %w", t.CertFile, t.KeyFile, err)}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func readPEM(key, file string) ([]byte, error) {
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &fileKeyError{key, fmt.Errorf("there is no file %s; check the path, which is relative to where the node is started", file)}
	case errors.Is(err, fs.ErrPermission):
		return nil, &fileKeyError{key, fmt.Errorf("%s may not be read by this user; check its owner and mode", file)}
	case err != nil:
		return nil, &fileKeyError{key, err}
	}
	return b, nil
}

func (c checker) tls(at string, target *Target) {
	t := &target.TLS
	at += ".tls"
	switch {
	case *t == (TLS{}):
		return
	case hasScheme(target.URL, "http", "grpc"):
		c.bad(at, "is set, but %q is not encrypted; write https or grpcs, or remove tls", redactURL(target.URL))
		return
	case !target.encrypted():
		return // the URL is the problem
	}
	if t.InsecureSkipVerify && (t.CAFile != "" || t.ServerName != "") {
		c.bad(at+".insecure_skip_verify", "true trusts anybody, which makes ca_file and server_name meaningless; remove it or them")
	}
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		c.bad(at+".key_file", "is missing; cert_file needs the key that belongs to it")
	case t.KeyFile != "" && t.CertFile == "":
		c.bad(at+".cert_file", "is missing; key_file needs the certificate that belongs to it")
	default:
		if _, err := t.Config(); err != nil {
			if f, ok := errors.AsType[*fileKeyError](err); ok {
				c.bad(at+"."+f.key, "%v", f.err)
				return
			}
			c.bad(at, "%v", err)
		}
	}
}
