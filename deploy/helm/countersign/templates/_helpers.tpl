{{- define "countersign.name" -}}
{{- if contains "countersign" .Release.Name }}{{ .Release.Name | trunc 42 | trimSuffix "-" }}{{ else }}{{ .Release.Name | trunc 30 | trimSuffix "-" }}-countersign{{ end }}
{{- end }}

{{- define "countersign.selector" -}}
app.kubernetes.io/name: countersign
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* For metadata: the name with a suffix, the namespace unless there is none, and labels. */}}
{{- define "countersign.metadata" -}}
name: {{ include "countersign.name" .root }}{{ with .suffix }}-{{ . }}{{ end }}
{{- if not .clusterWide }}
namespace: {{ .namespace | default .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "countersign.selector" .root | nindent 2 }}
  app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
  app.kubernetes.io/managed-by: {{ .root.Release.Service }}
  helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "countersign.tlsSecret" -}}
{{ .Values.tlsSecret | default (printf "%s-tls" (include "countersign.name" .)) }}
{{- end }}

{{/* A role and its binding to our account. */}}
{{- define "countersign.role" -}}
{{- $prefix := ternary "" "Cluster" (hasKey . "namespace") -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata:
  {{- include "countersign.metadata" (merge (dict "clusterWide" (eq $prefix "Cluster")) .) | nindent 2 }}
rules:
{{ .rules | toYaml }}
---
{{ include "countersign.binding" (merge (dict "role" (printf "%s-%s" (include "countersign.name" .root) .suffix)) .) }}
{{- end }}

{{- define "countersign.binding" -}}
{{- $prefix := ternary "" "Cluster" (hasKey . "namespace") -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata:
  {{- include "countersign.metadata" (merge (dict "clusterWide" (eq $prefix "Cluster")) .) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: {{ .role }}
subjects:
- kind: ServiceAccount
  name: {{ include "countersign.name" .root }}
  namespace: {{ .root.Release.Namespace }}
{{- end }}

{{- define "countersign.certificateDefaults" -}}
duration: 2160h
renewBefore: 720h
privateKey: { algorithm: ECDSA, size: 256, rotationPolicy: Always }
issuerRef: { name: {{ include "countersign.name" . }} }
{{- end }}
