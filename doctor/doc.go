// Package doctor finds out why a net does not train.
//
// Open reads what a run would read: the solver, its TRAIN and TEST nets as the
// phases select them; Case.Check adds facts about the data sources (how many
// records, their size, their labels, the range of their samples) and the mean
// files. Nothing is run and nothing changed, so a net whose data or whose layer
// types are not there can be judged as well. Shapes are those of the layers, each
// built alone and without values.
//
// Case.Check runs the rules, each of which looks at the structure of the nets
// and at figures, never at the names of layers. What a rule finds is a Finding:
// where in the files, what with which figures, why it matters, the smallest
// edit that mends it, and how sure that is. Severity Error and Warning are kept
// for what keeps a run from learning, spoils what it reports or loses its
// results; what is merely useless or worth knowing is a Note.
//
// The rule about initial weights follows the signal through the net with the
// mean-field theory of random nets (Poole et al. 2016; Schoenholz et al. 2017):
// it needs no data and no forward pass.
package doctor
