//! Certificate policies (RFC 5280, section 6.1, as changed by RFC 9618), with Go's inputs: any policy will do, none is required at
//! the start, mapping and anyPolicy are allowed. Go: `policiesValid` of crypto/x509/verify.go and its `policyGraph`.

use std::collections::{BTreeMap, BTreeSet};

use super::certificate::Certificate;
use super::extensions::Policies;

/// anyPolicy, 2.5.29.32.0.
const ANY_POLICY: &[u8] = &[0x55, 0x1d, 0x20, 0x00];

/// Whether a chain, the leaf first and the trust anchor last, satisfies the policy constraints in it.
pub(super) fn are_valid(chain: &[&Certificate]) -> bool {
    // Hardly anybody asks for any.
    if chain.iter().all(|certificate| certificate.extensions.policies == Policies::default()) {
        return true;
    }
    let Some((leaf, [cas @ .., _anchor])) = chain.split_first() else { return true };
    // The length of the chain without its anchor.
    let n = chain.len() - 1;
    let never = u64::try_from(n).unwrap_or(u64::MAX).saturating_add(1);
    let mut inhibit_any = never;
    let mut explicit = never;
    let mut mapping = never;
    let mut graph = Some(Graph::new());

    // From the anchor's child to the leaf.
    for (depth, certificate) in cas.iter().rev().chain([leaf]).enumerate() {
        let is_leaf = depth + 1 == n;
        let said = &certificate.extensions.policies;
        let self_issued = certificate.raw_issuer() == certificate.raw_subject();
        // 6.1.3 (e), (f)
        if said.policies.is_empty() {
            graph = None;
        }
        if explicit == 0 && graph.is_none() {
            return false;
        }
        if let Some(graph) = &mut graph {
            // 6.1.3 (d)
            let any_counts = inhibit_any > 0 || !is_leaf && self_issued;
            graph.add(&said.policies, any_counts);
            // 6.1.4 (a), (b)
            if !is_leaf && !said.mappings.is_empty() && !graph.map(&said.mappings, mapping > 0) {
                return false;
            }
        }
        if is_leaf {
            continue;
        }
        // 6.1.4 (h)
        if !self_issued {
            explicit = explicit.saturating_sub(1);
            mapping = mapping.saturating_sub(1);
            inhibit_any = inhibit_any.saturating_sub(1);
        }
        // 6.1.4 (i), (j)
        explicit = explicit.min(said.require_explicit.unwrap_or(u64::MAX));
        mapping = mapping.min(said.inhibit_mapping.unwrap_or(u64::MAX));
        inhibit_any = inhibit_any.min(said.inhibit_any.unwrap_or(u64::MAX));
    }

    // 6.1.5 (a), (b)
    explicit = explicit.saturating_sub(1);
    if leaf.extensions.policies.require_explicit == Some(0) {
        explicit = 0;
    }
    // 6.1.5 (g)
    explicit > 0 || graph.is_some_and(|graph| graph.has_valid_policy())
}

/// Where a node stands in the graph: its depth is the index of its stratum.
type Index = usize;

#[derive(Debug)]
struct Node {
    policy: Vec<u8>,
    expected: Vec<Vec<u8>>,
    parents: BTreeSet<Index>,
    children: BTreeSet<Index>,
}

/// Go: `policyGraph`.
#[derive(Debug)]
struct Graph {
    nodes: Vec<Node>,
    /// For each depth its nodes by their policy.
    strata: Vec<BTreeMap<Vec<u8>, Index>>,
}

impl Graph {
    fn new() -> Self {
        let mut graph = Self { nodes: Vec::new(), strata: vec![BTreeMap::new()] };
        graph.insert(ANY_POLICY, vec![ANY_POLICY.to_vec()], &[]);
        graph
    }

    fn leaves(&self) -> impl Iterator<Item = (Index, &Node)> {
        self.strata
            .last()
            .into_iter()
            .flat_map(BTreeMap::values)
            .filter_map(|i| Some((*i, self.nodes.get(*i)?)))
    }

    fn leaf(&self, policy: &[u8]) -> Option<Index> {
        self.strata.last()?.get(policy).copied()
    }

    /// Adds a leaf.
    fn insert(&mut self, policy: &[u8], expected: Vec<Vec<u8>>, parents: &[Index]) {
        let index = self.nodes.len();
        let parents: BTreeSet<Index> = parents.iter().copied().collect();
        for parent in &parents {
            if let Some(parent) = self.nodes.get_mut(*parent) {
                parent.children.insert(index);
            }
        }
        self.nodes.push(Node { policy: policy.to_vec(), expected, parents, children: BTreeSet::new() });
        if let Some(stratum) = self.strata.last_mut() {
            stratum.insert(policy.to_vec(), index);
        }
    }

    /// 6.1.3 (d): the policies of the next certificate.
    fn add(&mut self, policies: &[Vec<u8>], any_counts: bool) {
        let mut parents_by_expected: BTreeMap<Vec<u8>, Vec<Index>> = BTreeMap::new();
        for (index, node) in self.leaves() {
            for expected in &node.expected {
                parents_by_expected.entry(expected.clone()).or_default().push(index);
            }
        }
        let any_parent = self.leaf(ANY_POLICY);
        self.strata.push(BTreeMap::new());
        // (d) (1)
        for policy in policies.iter().filter(|policy| *policy != ANY_POLICY) {
            let parents = parents_by_expected.get(policy).cloned();
            let parents = parents.or_else(|| Some(vec![any_parent?]));
            if let Some(parents) = parents {
                self.insert(policy, vec![policy.clone()], &parents);
            }
        }
        // (d) (2)
        if any_counts && policies.iter().any(|policy| policy == ANY_POLICY) {
            for (expected, parents) in parents_by_expected {
                if self.leaf(&expected).is_none() {
                    self.insert(&expected, vec![expected.clone()], &parents);
                }
            }
        }
        // (d) (3)
        self.prune();
    }

    /// 6.1.4 (b): the mappings of a CA's certificate; false if it maps anyPolicy.
    fn map(&mut self, mappings: &[(Vec<u8>, Vec<u8>)], allowed: bool) -> bool {
        let mut by_issuer: BTreeMap<&[u8], Vec<Vec<u8>>> = BTreeMap::new();
        for (issuer, subject) in mappings {
            if !allowed {
                // (b) (3) (i)
                self.delete_leaf(issuer);
            } else if issuer == ANY_POLICY || subject == ANY_POLICY {
                return false;
            } else {
                by_issuer.entry(issuer).or_default().push(subject.clone());
            }
        }
        // (b) (3) (ii)
        self.prune();
        for (issuer, subjects) in by_issuer {
            // (b) (1)
            if let Some(leaf) = self.leaf(issuer) {
                if let Some(leaf) = self.nodes.get_mut(leaf) {
                    leaf.expected = subjects;
                }
            } else if let Some(any) = self.leaf(ANY_POLICY) {
                // (b) (2)
                self.insert(issuer, subjects, &[any]);
            }
        }
        true
    }

    fn delete_leaf(&mut self, policy: &[u8]) {
        let Some(index) = self.strata.last_mut().and_then(|stratum| stratum.remove(policy)) else { return };
        self.unlink(index);
    }

    /// Takes a node without children out of its parents.
    fn unlink(&mut self, index: Index) {
        let parents = self.nodes.get(index).map(|node| node.parents.clone()).unwrap_or_default();
        for parent in parents {
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.children.remove(&index);
            }
        }
    }

    /// Removes what leads to no leaf, from the leaves' parents up; the root stays.
    fn prune(&mut self) {
        let depth = self.strata.len().saturating_sub(1);
        for at in (1..depth).rev() {
            let Some(stratum) = self.strata.get(at) else { continue };
            let childless =
                |index: &Index| self.nodes.get(*index).is_some_and(|node| node.children.is_empty());
            let dead: Vec<Index> = stratum.values().copied().filter(childless).collect();
            for index in dead {
                self.unlink(index);
                if let (Some(node), Some(stratum)) = (self.nodes.get(index), self.strata.get_mut(at)) {
                    stratum.remove(&node.policy);
                }
            }
        }
    }

    /// 6.1.5 (g): anyPolicy is a leaf, or some node that is not of anyPolicy has anyPolicy for its only parent.
    fn has_valid_policy(&self) -> bool {
        let is_any = |index: &Index| self.nodes.get(*index).is_some_and(|node| node.policy == ANY_POLICY);
        self.leaf(ANY_POLICY).is_some()
            || self.strata.iter().flat_map(BTreeMap::values).filter_map(|index| self.nodes.get(*index)).any(
                |node| {
                    node.policy != ANY_POLICY && node.parents.len() == 1 && node.parents.iter().all(is_any)
                },
            )
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Draft, ca, draft, sequence, tlv};
    use super::*;

    const ANY: &[u8] = ANY_POLICY;
    const ONE: &[u8] = &[0x2a, 1];
    const TWO: &[u8] = &[0x2a, 2];

    impl Draft {
        fn policies(self, policies: &[&[u8]]) -> Self {
            let policies: Vec<_> = policies.iter().map(|oid| sequence(&[tlv(6, oid)])).collect();
            self.with(32, false, &sequence(&policies))
        }

        fn mapping(self, issuer: &[u8], subject: &[u8]) -> Self {
            self.with(33, true, &sequence(&[sequence(&[tlv(6, issuer), tlv(6, subject)])]))
        }

        fn require_explicit(self, skip: u8) -> Self {
            self.with(36, true, &sequence(&[tlv(0x80, &[skip])]))
        }

        fn inhibit_mapping(self, skip: u8) -> Self {
            self.with(36, true, &sequence(&[tlv(0x80, &[0]), tlv(0x81, &[skip])]))
        }

        fn inhibit_any(self, skip: u8) -> Self {
            self.with(54, true, &tlv(2, &[skip]))
        }
    }

    /// The leaf, then what stands above it, without the anchor, of which nothing is asked.
    fn valid(chain: &[Draft]) -> bool {
        let chain: Vec<Certificate> =
            chain.iter().map(Draft::build).chain([root().require_explicit(0).build()]).collect();
        are_valid(&chain.iter().collect::<Vec<_>>())
    }

    fn leaf() -> Draft {
        draft("leaf", "inter")
    }

    fn inter() -> Draft {
        ca("inter", "root", None)
    }

    fn root() -> Draft {
        ca("root", "root", None)
    }

    /// RFC 5280, section 6.1; Go: TestPoliciesValid of crypto/x509/verify_test.go, and the vector
    /// crit-policy-constraints.
    #[test]
    fn a_policy_is_needed_from_where_one_is_required() {
        let table = [
            ("nothing is asked", leaf(), inter(), true),
            ("by the leaf itself", draft("leaf", "root").require_explicit(0), root(), false),
            ("of the leaf", leaf(), inter().require_explicit(0), false),
            ("later", leaf(), inter().require_explicit(2), true),
            ("one certificate later", leaf(), inter().require_explicit(1), false),
            ("a policy of its own", leaf().policies(&[ONE]), inter().require_explicit(0), false),
            ("its CA's policy", leaf().policies(&[ONE]), inter().policies(&[ONE]).require_explicit(0), true),
            ("another policy", leaf().policies(&[TWO]), inter().policies(&[ONE]).require_explicit(0), false),
            ("of a CA for any", leaf().policies(&[TWO]), inter().policies(&[ANY]).require_explicit(0), true),
            ("any", leaf().policies(&[ANY]), inter().policies(&[ONE]).require_explicit(0), true),
            (
                "any, when that is none any more",
                leaf().policies(&[ANY]),
                inter().policies(&[ONE]).require_explicit(0).inhibit_any(0),
                false,
            ),
            (
                "any, when that is none one later",
                leaf().policies(&[ANY]),
                inter().policies(&[ONE]).require_explicit(0).inhibit_any(1),
                true,
            ),
        ];
        for (what, leaf, inter, expected) in table {
            assert_eq!(valid(&[leaf, inter]), expected, "{what}");
        }
        assert!(are_valid(&[&leaf().require_explicit(0).build()]), "a chain of the anchor alone");
    }

    #[test]
    fn policies_are_mapped_where_that_is_allowed() {
        let chain = |top: Draft, inter: Draft, leaf: &[u8]| {
            valid(&[
                draft("leaf", "inter").policies(&[leaf]),
                inter.but(|d| d.issuer = super::super::testing::name("top")),
                top,
            ])
        };
        let top = || ca("top", "root", None).policies(&[ONE]);
        let mapped = || inter().policies(&[ONE]).mapping(ONE, TWO);
        assert!(chain(top().require_explicit(0), mapped(), TWO));
        assert!(!chain(top().require_explicit(0), mapped(), ONE));
        assert!(!chain(top().inhibit_mapping(0), mapped(), TWO));
        assert!(!chain(top().inhibit_mapping(0), mapped(), ONE), "what would have been mapped is gone");
        assert!(chain(top().inhibit_mapping(1), inter().policies(&[ONE]), ONE));
        assert!(!chain(top(), inter().policies(&[ONE]).mapping(ANY, TWO), ONE), "anyPolicy is not mapped");
        assert!(!chain(top(), inter().policies(&[ONE]).mapping(ONE, ANY), ONE));
        // From anyPolicy: the issuer's policy comes into being with its mapping.
        let any = || ca("top", "root", None).policies(&[ANY]).require_explicit(0);
        assert!(chain(any(), inter().policies(&[ANY]).mapping(ONE, TWO), TWO));
    }
}
